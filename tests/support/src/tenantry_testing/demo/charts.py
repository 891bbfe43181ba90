"""Installing our charts with helm, as a user does."""

from dataclasses import dataclass
from pathlib import Path

from tenantry_cluster.stack import Gateway
from tenantry_cluster.waiting import wait_until
from tenantry_testing.demo.facts import CHART, CRDS_CHART, SERVER, SYSTEM
from tenantry_testing.demo.programs import ProgramFailed, Programs

OPERATOR = "deployment/tenantry-operator"
TIMEOUT = "120s"


@dataclass(frozen=True)
class Image:
    """Where the chart finds an image that the cluster has."""

    repository: str
    tag: str

    @classmethod
    def parse(cls, name: str) -> "Image":
        """From `repository:tag`."""
        repository, _, tag = name.rpartition(":")
        return cls(repository, tag)


def install_crds(programs: Programs, root: Path) -> None:
    chart = str(root / "charts" / CRDS_CHART)
    programs.helm("upgrade", "--install", CRDS_CHART, chart, f"--namespace={SYSTEM}", "--create-namespace")
    programs.kubectl("wait", "--for=condition=Established", "--timeout=60s", *CRDS)
    # The API server tells of a new type, which helm looks up, a moment after that.
    wait_until(lambda: _are_served(programs), seconds=60, what="the API server does not list our objects")


TYPES = (
    "tenants.tenantry.dev",
    "databaseservers.tenantry.dev",
    "servicedeployments.tenantry.dev",
    "migrationruns.tenantry.dev",
)
CRDS = tuple(f"crd/{name}" for name in TYPES)


def _are_served(programs: Programs) -> bool:
    try:
        programs.kubectl("get", ",".join(TYPES), "--all-namespaces", "-o", "name")
    except ProgramFailed:
        return False
    return True


def install_tenantry(programs: Programs, root: Path, *, operator: Image, accounts: Image, gateway: Gateway) -> None:
    """Install or upgrade, and wait until the operator runs; services become ready once there is a DatabaseServer."""
    chart = str(root / "charts" / CHART)
    values = {
        "registry.server": SERVER,
        "gateway.name": gateway.name,
        "gateway.namespace": gateway.namespace,
        "operator.image.repository": operator.repository,
        "operator.image.tag": operator.tag,
        "services.accounts.image.repository": accounts.repository,
        "services.accounts.image.tag": accounts.tag,
    }
    # Its end-to-end tests drop more Tenants within a minute than the chart allows.
    given = [f"--set-string={name}={value}" for name, value in values.items()] + ["--set=breaker.drops=1000"]
    programs.helm("upgrade", "--install", CHART, chart, f"--namespace={SYSTEM}", *given)
    programs.kubectl("rollout", "status", OPERATOR, f"--namespace={SYSTEM}", f"--timeout={TIMEOUT}")


def uninstall(programs: Programs) -> None:
    """Take both charts away, with the CRDs that the second one leaves; nothing when they are not there."""
    for release in (CHART, CRDS_CHART):
        programs.helm("uninstall", release, f"--namespace={SYSTEM}", "--ignore-not-found", "--wait", "--timeout=120s")
    programs.kubectl("delete", "--ignore-not-found", "--timeout=60s", *CRDS)


def are_crds_installed(programs: Programs) -> bool:
    """Whether all are there. Raises ProgramFailed when the API server does not tell, which is no reason to go on."""
    return len(programs.kubectl("get", *CRDS, "--ignore-not-found", "-o", "name").split()) == len(CRDS)
