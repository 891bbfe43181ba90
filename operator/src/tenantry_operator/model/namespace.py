"""The namespace of a Tenant: what it should hold, and what was seen of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Raw = Mapping[str, Any]

QUOTA: Final = "ResourceQuota"
CHILDREN: Final = (QUOTA, "LimitRange", "NetworkPolicy", "RoleBinding")
"""The kinds of the objects in the namespace."""
KINDS: Final = ("Namespace", *CHILDREN)


@dataclass(frozen=True)
class Subject:
    """Who gets a role; `namespace` is that of a ServiceAccount."""

    kind: str
    name: str
    namespace: str = ""


@dataclass(frozen=True)
class Binding:
    role: str
    subjects: tuple[Subject, ...]


@dataclass(frozen=True)
class DesiredNamespace:
    """What the Tenant says of its namespace, with every absent field replaced by what it means."""

    name: str
    pod_security: str
    default_deny: bool
    quota: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The fields of a LimitRange's item, without those that are empty."""
    bindings: tuple[Binding, ...] = ()
    keeper: Subject | None = None
    """Who keeps the Secret with the credentials in it."""


@dataclass(frozen=True)
class ObservedNamespace:
    """The namespace of the wanted name, whoever made it, and all objects in it of the kinds that we make."""

    body: Raw
    children: tuple[Raw, ...] = ()


def version_of(kind: str, metadata: Raw) -> str:
    """Return what changes whenever somebody changes an object, and is known from its metadata alone.

    A quota's resourceVersion also changes with each pod that is counted: there it is who wrote what that tells. An
    edit that is put right makes its fields ours, so that the same edit again tells too.
    """
    if kind != QUOTA:
        return str(metadata.get("resourceVersion", ""))
    writers = [one for one in metadata.get("managedFields") or () if one.get("subresource") != "status"]
    told = [metadata.get(key) for key in ("uid", "labels", "annotations", "deletionTimestamp")]
    return hashlib.blake2b(json.dumps([*told, writers], sort_keys=True).encode(), digest_size=16).hexdigest()
