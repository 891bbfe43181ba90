"""Lets a Tenant go that can never leave in good order. Nothing is dropped; what was left is said in an Event."""

import logging
from collections.abc import Iterable
from dataclasses import replace

import psycopg

from tenantry_crds import ConditionType, DeletionPolicy, Tenant, absent
from tenantry_crds.reasons import Reason
from tenantry_operator.apply.registry import close_row
from tenantry_operator.apply.secrets import delete_secret
from tenantry_operator.clients.kube import Forbidden, Kube, RawObject
from tenantry_operator.clients.postgres import DatabaseError, Servers
from tenantry_operator.engine.fence import Fence
from tenantry_operator.model.isolation import Isolation, Layout
from tenantry_operator.model.names import TenantNames
from tenantry_operator.model.tenant import Leaving, RowState
from tenantry_operator.observe.secrets import observe_secret
from tenantry_operator.plan.status import Problem, reason_shown
from tenantry_operator.plan.tenant_force import Force, force_asked, left_behind, refused, row_left
from tenantry_operator.reconcile.addresses import Addresses, NoAddress
from tenantry_operator.settings import OperatorSettings

logger = logging.getLogger(__name__)


class TenantEscape:
    """Does by hand, as far as it can be done, what a pass would have done at the end."""

    def __init__(
        self, kube: Kube, servers: Servers, addresses: Addresses, fence: Fence, *, settings: OperatorSettings
    ) -> None:
        self._kube = kube
        self._servers = servers
        self._addresses = addresses
        self._fence = fence
        self._settings = settings

    async def answer(
        self, body: RawObject, tenant: Tenant, problem: Problem, *, secrets: Iterable[tuple[str, str]]
    ) -> Problem | None:
        """Return what still stands in the Tenant's way; None when it may go. `secrets` are further ones to look at.

        Raises ApiError, FenceError.
        """
        uid, annotations = tenant.metadata.uid, tenant.metadata.annotations
        shown = reason_shown(body.get("status") or {}, ConditionType.DELETING)
        force = force_asked(annotations, uid=uid, problem=problem, shown=shown)
        if force is Force.REFUSED:
            return await self._refuse(body, problem, note=refused(annotations, uid=uid))
        if force is not Force.LET_GO:
            return problem
        await self._let_go(body, tenant, problem, secrets=secrets)
        return None

    async def _refuse(self, body: RawObject, problem: Problem, *, note: str) -> Problem:
        """Say in the condition that the annotation is wrong, and once in an Event."""
        said = (body.get("status") or {}).get("conditions") or ()
        if not any(note in one.get("message", "") for one in said):
            await self._kube.event(
                about=body, type="Warning", reason=Reason.FORCE_FINALIZE_REFUSED, message=note, action="ForceFinalize"
            )
        return replace(problem, message=f"{problem.message}; {note}")

    async def _let_go(
        self, body: RawObject, tenant: Tenant, problem: Problem, *, secrets: Iterable[tuple[str, str]]
    ) -> None:
        """Close the registry's row, delete the Secrets of this UID, and tell."""
        names = TenantNames(tenant.metadata.name)
        policy = absent.deletion_policy(tenant.spec)
        leaving = Leaving.DELETE if policy is DeletionPolicy.DELETE else Leaving.RETAIN
        registry = await self._close_row(tenant, row_left(leaving, problem))
        for name, namespace in sorted({*secrets, *self._secrets(tenant)}):
            try:
                secret = await observe_secret(self._kube, name, namespace, owner_uid=tenant.metadata.uid)
            except Forbidden:
                continue  # its namespace does not let us in, and is named among what is left
            if secret is not None and secret.ours:
                await delete_secret(self._kube, secret)
        server = tenant.status.database_server or tenant.spec.database_server
        space = _namespace(tenant)
        layout = Layout(names, Isolation(tenant.spec.isolation), server or "", "")
        said = left_behind(layout, namespace=space, registry=registry, problem=problem)
        logger.warning("a Tenant was let go by force", extra={"tenant": names.name, "error": said})
        await self._kube.event(
            about=body, type="Warning", reason=Reason.FORCE_FINALIZED, message=said, action="ForceFinalize"
        )

    def _secrets(self, tenant: Tenant) -> set[tuple[str, str]]:
        binding = tenant.status.binding
        name = absent.secret_name(tenant.spec, tenant.metadata.name)
        named = {(name, place) for place in (self._settings.namespace, _namespace(tenant)) if place}
        return named | ({(binding.name, binding.namespace)} if binding else set())

    async def _close_row(self, tenant: Tenant, state: RowState) -> str:
        """Return what the registry does now, for people."""
        name, uid = tenant.metadata.name, tenant.metadata.uid
        try:
            address = await self._addresses.registry(self._settings.registry_server, self._settings.registry_database)
            async with self._fence.hold(name), self._servers.connection(address) as connection:
                found = await close_row(connection, name=name, uid=uid, state=state)
        except (NoAddress, DatabaseError, psycopg.Error) as error:
            logger.warning("the registry was not told", extra={"tenant": name, "error": str(error)})
            return "could not be told, and may hold the name"
        return f"says {state}" if found else "had no row of it"


def _namespace(tenant: Tenant) -> str | None:
    given = tenant.spec.namespace
    return absent.namespace(given, tenant.metadata.name).name if given else None
