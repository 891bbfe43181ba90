"""Which Tenants are an operator's own, where several share them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tenantry_crds import names


@dataclass(frozen=True)
class Shard:
    """One operator's share. Without a name it is the default one, which has all that is no other's."""

    name: str = ""
    others: frozenset[str] = frozenset()
    """The shards that have an operator of their own; only the default one asks."""

    @property
    def is_default(self) -> bool:
        return not self.name

    @property
    def is_only(self) -> bool:
        """Whether there is no other operator."""
        return self.is_default and not self.others

    @property
    def lease_name(self) -> str:
        return f"{names.LEASE_NAME}-{self.name}" if self.name else names.LEASE_NAME

    @property
    def selector(self) -> str:
        """The label selector of its Tenants; empty takes all."""
        return f"{names.LABEL_SHARD}={self.name}" if self.name else ""

    def owns(self, body: Mapping[str, Any]) -> bool:
        """Whether a Tenant is its own. Of any set of operators that know each other exactly one says so."""
        label = shard_of(body["metadata"].get("labels"))
        return label == self.name if self.name else label not in self.others


def shard_of(labels: Mapping[str, str] | None) -> str:
    """Return what the label says; empty when it says nothing."""
    return (labels or {}).get(names.LABEL_SHARD, "")
