"""`.tenantry/demo.json`: how to reach what the demo brought up, from the machine's own shell."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from tenantry_cluster.errors import ClusterError
from tenantry_cluster.layout import Layout


class NoDemo(ClusterError):
    """There is no record of a demo that is up."""


@dataclass(frozen=True)
class SampleTenant:
    """A Tenant of the demo, and a key of its own."""

    name: str
    api_key: str


@dataclass(frozen=True)
class DemoRecord:
    """Addresses that work outside of the cluster; `postgres_url` is an administrator's."""

    kubeconfig: str
    gateway_url: str
    postgres_url: str
    tenants: tuple[SampleTenant, ...]

    def key_of(self, tenant: str) -> str | None:
        return next((found.api_key for found in self.tenants if found.name == tenant), None)


def record_path(layout: Layout) -> Path:
    return layout.state / "demo.json"


def read_record(layout: Layout) -> DemoRecord:
    """Raises NoDemo when there is none, or one that cannot be read."""
    path = record_path(layout)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        tenants = tuple(SampleTenant(**tenant) for tenant in raw.pop("tenants"))
        return DemoRecord(**raw, tenants=tenants)
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise NoDemo(f"{path} cannot be read ({type(error).__name__})", cure="make demo") from error


def write_record(layout: Layout, record: DemoRecord) -> None:
    """Readable for the owner alone: it holds passwords and keys."""
    path = record_path(layout)
    young = path.with_suffix(".young")
    with os.fdopen(os.open(young, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(asdict(record), file, indent=2)
        file.write("\n")
    young.replace(path)


def forget_record(layout: Layout) -> None:
    record_path(layout).unlink(missing_ok=True)
