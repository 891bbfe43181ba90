"""The checks of `tenantry doctor`: each asks one thing and gives lines."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import psycopg

from tenantry_crds import names
from tenantry_crds.manifest import release
from tenantry_crds.outdated import Finding, findings
from tenantry_crds.reasons import Reason
from tenantry_crds.runbooks import RUNBOOKS
from tenantry_operator.cli.cluster import CallersKube
from tenantry_operator.cli.detour import Detours
from tenantry_operator.cli.operator_view import RegistryChoice, cached_servers, registry_place
from tenantry_operator.cli.output import condition
from tenantry_operator.clients.kube import DATABASESERVERS, DEPLOYMENTS, LEASES, TENANTS, ApiError, Kube
from tenantry_operator.clients.postgres import DatabaseError
from tenantry_operator.clients.sqlstate import classify
from tenantry_operator.engine.clock import SystemClock
from tenantry_operator.observe.definitions import read_definitions
from tenantry_operator.observe.registry import read_rows
from tenantry_operator.reconcile.addresses import Addresses, NoAddress

OPERATOR: Final = "tenantry-operator"
UPGRADE_CRDS: Final = f"run: {RUNBOOKS[Reason.CRD_OUTDATED][-1]}"
SHOWN: Final = 5
LOOKS: Final = 12
LOOK_SECONDS: Final = 0.5
"""A leader renews every two seconds: so often and so long a Lease that seems old is looked at again."""


class Level(StrEnum):
    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Line:
    """One finding: how bad, about what, what is so, and what to do about it."""

    level: Level
    what: str
    said: str
    todo: str = ""

    def as_value(self) -> dict[str, str]:
        return {"level": self.level.value, "check": self.what, "said": self.said, "todo": self.todo}


async def check_server_version(kube: Kube) -> Line:
    try:
        return Line(Level.OK, "cluster", f"the API server answers, version {await kube.version()}")
    except ApiError as error:
        todo = "check the kubeconfig, --context, and whether the API server runs"
        return Line(Level.FAIL, "cluster", str(error), todo)


async def check_definitions(kube: Kube) -> list[Line]:
    return [_definition(one) for one in findings(await read_definitions(kube))]


def _definition(one: Finding) -> Line:
    if one.absent:
        return Line(Level.FAIL, "CRD", one.said(), UPGRADE_CRDS)
    if one.is_outdated:
        return Line(Level.FAIL, "CRD", one.said(), UPGRADE_CRDS)
    if one.unknown:
        todo = "upgrade this command, and the operator if it is of the same version"
        return Line(Level.WARN, "CRD", one.said(), todo)
    return Line(Level.OK, "CRD", one.said())


async def check_operator(kube: Kube, namespace: str) -> list[Line]:
    found = await kube.get(DEPLOYMENTS, OPERATOR, namespace=namespace)
    if found is None:
        said = f"there is no Deployment {namespace}/{OPERATOR}"
        todo = "name its namespace by --namespace, or install the chart tenantry; one outside of a pod is not seen here"
        return [Line(Level.WARN, "operator", said, todo)]
    return [operator_line(found)]


def operator_line(deployment: Mapping[str, Any]) -> Line:
    """Judge the Deployment of the operator."""
    wanted = deployment["spec"].get("replicas", 1)
    ready = (deployment.get("status") or {}).get("readyReplicas", 0)
    image = deployment["spec"]["template"]["spec"]["containers"][0].get("image", "")
    said = f"{ready} of {wanted} pods are ready, image {image}"
    namespace = deployment["metadata"]["namespace"]
    todo = f"kubectl -n {namespace} describe pods -l app.kubernetes.io/component=operator"
    if ready == 0:
        return Line(Level.FAIL, "operator", said, todo if wanted else "scale the Deployment to 1 or more")
    return Line(Level.WARN if ready < wanted else Level.OK, "operator", said, todo)


async def check_lease(
    kube: Kube, namespace: str, *, looks: int = LOOKS, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> list[Line]:
    """Say who leads, of the default shard and of each that has a Lease of its own."""
    held = {one["metadata"]["name"]: one for one in await kube.list(LEASES, namespace=namespace)}
    shards = sorted(name for name in held if name.startswith(f"{names.LEASE_NAME}-"))
    return [
        await _check_one_lease(kube, namespace, name, held.get(name), looks=looks, now=now)
        for name in (names.LEASE_NAME, *shards)
    ]


async def _check_one_lease(
    kube: Kube, namespace: str, name: str, first: Mapping[str, Any] | None, *, looks: int, now: Callable[[], datetime]
) -> Line:
    """Judge a Lease. One that looks old is held all the same if it moves: clocks differ, movement does not."""
    what = "lease" + name.removeprefix(names.LEASE_NAME).replace("-", " ", 1)
    holder = (first or {}).get("spec", {}).get("holderIdentity")
    todo = f"kubectl -n {namespace} logs deployment/{name} --tail=50"
    if first is None or not holder:
        return Line(Level.FAIL, what, f"nobody holds the Lease {namespace}/{name}", todo)
    if lease_is_fresh(first, now()):
        return Line(Level.OK, what, f"{holder} leads")
    for _ in range(looks):
        await asyncio.sleep(LOOK_SECONDS)
        again = await kube.get(LEASES, name, namespace=namespace)
        if again is not None and again["spec"].get("renewTime") != first["spec"].get("renewTime"):
            return Line(Level.OK, what, f"{holder} leads; its clock and this machine's differ")
    said = f"{holder} held the Lease and renewed it last at {first['spec'].get('renewTime')}"
    return Line(Level.FAIL, what, said, todo)


def lease_is_fresh(lease: Mapping[str, Any], now: datetime) -> bool:
    spec = lease["spec"]
    if not spec.get("renewTime"):
        return False
    seconds = (now - datetime.fromisoformat(spec["renewTime"])).total_seconds()
    return bool(abs(seconds) <= spec.get("leaseDurationSeconds", 15))


async def check_servers(kube: Kube) -> list[Line]:
    found = await kube.list(DATABASESERVERS)
    if not found:
        return [
            Line(Level.FAIL, "server", "there is no DatabaseServer", "kubectl apply -f examples/databaseserver.yaml")
        ]
    lines = [server_line(one) for one in sorted(found, key=lambda one: str(one["metadata"]["name"]))]
    if not any(one["spec"].get("default") for one in found):
        todo = RUNBOOKS[Reason.NO_DEFAULT_SERVER][-1]
        lines.append(Line(Level.WARN, "server", "no DatabaseServer is the default: each Tenant must name one", todo))
    return lines


def server_line(server: Mapping[str, Any]) -> Line:
    """Judge a DatabaseServer by its conditions."""
    name, ready = server["metadata"]["name"], condition(server, "Ready")
    what = f"server {name}"
    if not ready:
        return Line(Level.FAIL, what, "the operator has not looked at it", "see the lines of operator and lease")
    if ready.get("observedGeneration") != server["metadata"].get("generation"):
        return Line(Level.WARN, what, "the operator has not seen its newest spec yet", "wait, then look again")
    if ready["status"] != "True":
        todo = f"tenantry explain {ready['reason']}"
        return Line(Level.FAIL, what, f"{ready['reason']}: {ready.get('message', '')}", todo)
    status = server["status"]
    return Line(Level.OK, what, f"Postgres {status.get('version', '?')}, {status.get('tenants', 0)} Tenants")


async def check_registry(kube: Kube, servers: Detours, namespace: str, choice: RegistryChoice) -> list[Line]:
    """Look into the registry itself, if it can be reached from here."""
    cache = await cached_servers(kube)
    server, database = await registry_place(kube, cache, namespace=namespace, choice=choice)
    where = f"database {database} of server {server}"
    addresses = Addresses(kube, cache, namespace=namespace, registry_server=server, clock=SystemClock())
    try:
        async with servers.connection(await addresses.registry(server, database)) as connection:
            released, rows = await read_rows(connection)
    except psycopg.errors.UndefinedTable:
        return [Line(Level.FAIL, "registry", f"{where} has no registry yet", "see the line of that server")]
    except NoAddress as error:
        return [Line(Level.FAIL, "registry", str(error), f"tenantry explain {error.reason}")]
    except (DatabaseError, psycopg.Error) as error:
        said = f"{where} cannot be read from here: {classify(error).message}"
        todo = "inside of the cluster it may well be: see the server's line. --through names another address"
        return [Line(Level.WARN, "registry", said, todo)]
    if released is None:
        return [Line(Level.FAIL, "registry", f"{where} has no released revision", "see the operator's log")]
    return [Line(Level.OK, "registry", f"{where}: {len(rows)} Tenants, revision {released} is released")]


async def check_tenants(kube: Kube) -> list[Line]:
    found = await kube.list(TENANTS)
    unwell = sorted(str(one["metadata"]["name"]) for one in found if condition(one, "Ready").get("status") != "True")
    if not unwell:
        return [Line(Level.OK, "tenants", f"{len(found)} Tenants, all Ready")]
    named = ", ".join(unwell[:SHOWN]) + (" and more" if len(unwell) > SHOWN else "")
    said = f"{len(unwell)} of {len(found)} Tenants are not Ready: {named}"
    return [Line(Level.WARN, "tenants", said, "tenantry tenant list --not-ready")]


@dataclass(frozen=True)
class Need:
    """A right, and the commands that need it."""

    verb: str
    resource: str
    needed_for: str
    group: str = ""
    in_namespace: bool = False


NEEDS: Final = (
    Need("list", "tenants", "tenant list, tenant status, plan", names.GROUP),
    Need("create", "tenants", "kubectl apply, plan", names.GROUP),
    Need("update", "tenants", "plan", names.GROUP),
    Need("patch", "tenants", "kubectl apply", names.GROUP),
    Need("list", "databaseservers", "plan, tenant report, tenant create-key", names.GROUP),
    Need("get", "secrets", "plan, tenant psql, tenant create-key", in_namespace=True),
    Need("get", "configmaps", "plan", in_namespace=True),
    Need("get", "deployments", "doctor, plan", "apps", in_namespace=True),
    Need("get", "leases", "doctor", "coordination.k8s.io", in_namespace=True),
    Need("list", "leases", "doctor", "coordination.k8s.io", in_namespace=True),
    Need("create", "jobs", "tenant restore", "batch", in_namespace=True),
    Need("list", "pods", "tenant restore", in_namespace=True),
    Need("get", "persistentvolumeclaims", "doctor", in_namespace=True),
    Need("get", "customresourcedefinitions", "doctor", "apiextensions.k8s.io"),
    Need("get", "namespaces", "plan"),
)


async def check_rights(kube: CallersKube, namespace: str) -> list[Line]:
    """Ask the API server what the caller may do."""
    answers = await asyncio.gather(
        *(
            kube.may(one.verb, one.resource, group=one.group, namespace=namespace if one.in_namespace else None)
            for one in NEEDS
        )
    )
    return rights_lines([need for need, allowed in zip(NEEDS, answers, strict=True) if not allowed])


def rights_lines(lacking: Sequence[Need]) -> list[Line]:
    if not lacking:
        return [Line(Level.OK, "rights", f"you may do all that the commands of {release()} ask for")]
    todo = "ask whoever administers the cluster for it"
    return [
        Line(Level.WARN, "rights", f"you may not {one.verb} {one.resource}: needed for {one.needed_for}", todo)
        for one in lacking
    ]
