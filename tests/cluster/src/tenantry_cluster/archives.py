"""Archives of images: what is in one, and what a runtime calls it."""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenantry_cluster.errors import ClusterError


@dataclass(frozen=True)
class Image:
    """An OCI archive, and the name under which pods ask for what is in it."""

    archive: Path
    tag: str


def archived(archive: Path) -> tuple[str, str]:
    """The name and the digest of the one image in an OCI archive. ClusterError when it holds none or more."""
    try:
        manifests = _manifests(archive)
    except (KeyError, OSError, ValueError, tarfile.TarError) as error:
        raise ClusterError(f"{archive} is no OCI archive: {error}") from error
    if len(manifests) != 1:
        raise ClusterError(f"{archive} holds {len(manifests)} images; one is expected")
    notes = manifests[0].get("annotations", {})
    name = notes.get("io.containerd.image.name") or notes.get("org.opencontainers.image.ref.name", "")
    return name, manifests[0]["digest"]


def _manifests(archive: Path) -> list[dict[str, Any]]:
    with tarfile.open(archive) as tar:
        index = tar.extractfile("index.json")
        return list(json.load(index)["manifests"]) if index else []


def full_name(tag: str) -> str:
    """An image's name as the runtime writes it: with registry, path and tag."""
    first, slash, _ = tag.partition("/")
    has_registry = bool(slash) and (first == "localhost" or "." in first or ":" in first)
    path = tag if has_registry else f"docker.io/{tag}" if slash else f"docker.io/library/{tag}"
    return path if ":" in path.rpartition("/")[2] else f"{path}:latest"
