"""The model of a pooled Tenant: beside its roles there is a pool, which outlives it, with its rows and its entry."""

from dataclasses import dataclass, replace

from tenantry_operator.model.isolation import Isolation
from tenantry_operator.model.pool import POOL_CUSTOMERS, PoolEntry
from tenantry_operator.model.tenant import Catalogue
from tenantry_operator.plan import actions as do
from tenantry_operator.plan.pool_actions import CloseEntry, EnterPool, LeavePool, MakePool
from tenantry_testing.tenant_damages import VERSION, make_desired
from tenantry_testing.tenant_model import Impossible, TenantModel

TABLES = frozenset({"users", "schema_version"})


@dataclass
class PooledModel(TenantModel):
    """One pooled tenant's part of the world. `rows` says whether it has any."""

    rows: bool = False

    def play(self, action: do.TenantAction) -> None:
        held = self.catalogue
        match action:
            case MakePool(to=to):
                if held.version is None:
                    self.catalogue = replace(held, version=to, tables=TABLES)
            case EnterPool(entry=entry):
                self._pool_is_there()
                self.catalogue = replace(held, entry=entry)
            case CloseEntry(id=identity):
                entry = self._entry(identity)
                self.catalogue = replace(held, entry=replace(entry, open=False))
            case LeavePool():
                self._pool_is_there()
                self.rows = False
                self.catalogue = replace(held, entry=None)
            case _:
                super().play(action)

    def _pool_is_there(self) -> None:
        if self.catalogue.version is None:
            raise Impossible("there is no pool")

    def _entry(self, identity: str) -> PoolEntry:
        entry = self.catalogue.entry
        if entry is None or entry.id != identity:
            raise Impossible(f"the directory has no {identity}")
        return entry

    def _exists(self, name: str) -> None:
        if name != POOL_CUSTOMERS:
            super()._exists(name)

    def _drop(self, action: do.DropData) -> None:
        pool = self.catalogue
        super()._drop(action)
        self.catalogue = replace(Catalogue(), version=pool.version, tables=pool.tables, entry=pool.entry)


def pooled_model(*, pool: bool = False, **changes: object) -> PooledModel:
    """Return the model of a Tenant that is not there yet; `pool`: others have made the pool before."""
    catalogue = Catalogue(version=VERSION, tables=TABLES) if pool else Catalogue()
    return PooledModel(make_desired(isolation=Isolation.POOLED, **changes), catalogue)
