"""What a Tenant asks for, as values of the model."""

from datetime import datetime

from uuid_utils import uuid7

from tenantry_crds import DatabaseServer, DeletionPolicy, DeletionProtection, ReadOnlyRole, Tenant, absent
from tenantry_migrations import TENANT
from tenantry_operator.clients.postgres import ServerAddress
from tenantry_operator.model.adoption import Adoption
from tenantry_operator.model.isolation import Isolation, layout_of
from tenantry_operator.model.names import TenantNames
from tenantry_operator.model.shard import shard_of
from tenantry_operator.model.tenant import Deletion, DesiredTenant, Grant, Leaving, Place
from tenantry_operator.reconcile.tenant_backup import desired_backup
from tenantry_operator.reconcile.tenant_credentials import desired_credentials
from tenantry_operator.reconcile.tenant_namespace import desired_namespace
from tenantry_operator.settings import OperatorSettings


def desired_tenant(
    tenant: Tenant,
    address: ServerAddress,
    *,
    settings: OperatorSettings,
    released: str,
    now: datetime,
    server: DatabaseServer,
    registry: DatabaseServer,
) -> DesiredTenant:
    """Say what the Tenant asks for, with all that it leaves out."""
    spec, names, isolation = tenant.spec, TenantNames(tenant.metadata.name), Isolation(tenant.spec.isolation)
    layout = layout_of(names, isolation, server=address.name, database=address.database)
    leaving = Leaving.RETAIN if absent.deletion_policy(spec) is DeletionPolicy.RETAIN else Leaving.DELETE
    backup = desired_backup(tenant, server, registry, settings)
    namespace = desired_namespace(spec, names.name, system=settings.namespace)
    protected = absent.deletion_protection(spec) is DeletionProtection.ENABLED
    return DesiredTenant(
        names=names,
        uid=tenant.metadata.uid,
        installation=settings.installation_id,
        new_id=str(uuid7()),
        place=place_of(address, database=layout.database),
        secret_name=absent.secret_name(spec, names.name),
        secret_namespace=namespace.name if namespace else settings.namespace,
        system_namespace=settings.namespace,
        released=released,
        credentials=desired_credentials(tenant, now=now),
        service_tables=service_tables(names),
        connection_limit=absent.connection_limit(spec),
        settings=frozenset(absent.settings(spec).items()),
        extensions=frozenset(absent.extensions(spec)),
        reader=absent.read_only_role(spec) is ReadOnlyRole.ENABLED,
        adoption=Adoption(absent.adoption_policy(spec)),
        lifecycle=absent.lifecycle(spec),
        deletion=Deletion(leaving, protected=protected, backup=backup) if tenant.metadata.is_terminating else None,
        namespace=namespace,
        isolation=isolation,
        shard=shard_of(tenant.metadata.labels) or None,
    )


def place_of(address: ServerAddress, *, database: str | None = None) -> Place:
    """Return a database of the server as a place to connect to; without its name, the one for all tenants."""
    return Place(
        address.name,
        database or address.database,
        address.host,
        address.port,
        address.sslmode,
        address.ca_pem,
        endpoints=address.endpoints,
    )


def service_tables(names: TenantNames) -> dict[str, frozenset[Grant]]:
    """Return, by revision, what the services may do with the tables of this tenant."""
    return {
        revision: frozenset(
            Grant(held.table, names.service_role(held.service), privilege)
            for held in TENANT.privileges(revision)
            for privilege in held.privileges
        )
        for revision in TENANT.revisions
    }
