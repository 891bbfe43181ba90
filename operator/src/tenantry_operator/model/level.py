"""What a level Tenant was left as: all that a pass over it would conclude from, each by what changes with it."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime

Child = tuple[str, str, str, str]
"""Kind, name, namespace and version."""


@dataclass(frozen=True)
class Level:
    """Two that are equal but for `due` are of a Tenant in one and the same state, under one and the same operator."""

    made_by: str
    """What decides about it: code, histories and settings of the operator."""
    tenant: tuple[str, str]
    """UID and resourceVersion, with which spec, annotations and status change."""
    secret: tuple[str, str, str | None]
    """Name, namespace and resourceVersion; without one there is no Secret."""
    children: tuple[Child, ...]
    """The namespace and what is in it, in order."""
    told: str
    """A digest of what all these say of themselves: after a restore of etcd, a resourceVersion comes a second time."""
    place: str
    """A digest of how the tenant's users and we reach its database."""
    row: str
    """A digest of the registry's row, and of the released revision."""
    mark: str
    """The catalogue's mark of all facts."""
    due: datetime | None = None
    """When something is to be done though nothing happens until then."""

    def text(self) -> str:
        """Write it down; the same gives the same text."""
        said = {**asdict(self), "due": self.due.isoformat() if self.due else None}
        return json.dumps(said, sort_keys=True, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> "Level | None":
        """Read it back; None when another version wrote it in another way."""
        try:
            said = json.loads(text)
            uid, tenant_version = said["tenant"]
            secret, secret_namespace, secret_version = said["secret"]
            return cls(
                **{
                    **said,
                    "tenant": (uid, tenant_version),
                    "secret": (secret, secret_namespace, secret_version),
                    "children": tuple(
                        (kind, name, namespace, version) for kind, name, namespace, version in said["children"]
                    ),
                    "due": datetime.fromisoformat(said["due"]) if said["due"] else None,
                }
            )
        except (ValueError, KeyError, TypeError):
            return None
