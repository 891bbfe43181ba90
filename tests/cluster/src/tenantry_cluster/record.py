"""What is up: the one file that says which kind of cluster this checkout uses."""

import json
from dataclasses import dataclass
from enum import StrEnum

from tenantry_cluster import files
from tenantry_cluster.layout import Layout


class Kind(StrEnum):
    """Where a cluster comes from."""

    GIVEN = "given"
    KIND = "kind"
    LOCAL = "local"


@dataclass(frozen=True)
class Record:
    """The content of `.tenantry/cluster.json`."""

    kind: Kind
    node_address: str | None

    def write(self, layout: Layout) -> None:
        """Note this cluster as the one that is up."""
        content = {"kind": self.kind, "kubeconfig": str(layout.kubeconfig), "node_address": self.node_address}
        files.write(layout.record, json.dumps(content, indent=1) + "\n")


def read(layout: Layout) -> Record | None:
    """The cluster that was brought up and not taken down since; it may have crashed. None when there is none."""
    if not layout.record.exists():
        return None
    content = json.loads(layout.record.read_text())
    return Record(Kind(content["kind"]), content["node_address"])


def forget(layout: Layout) -> None:
    """No cluster is up any more."""
    layout.record.unlink(missing_ok=True)
    layout.kubeconfig.unlink(missing_ok=True)
