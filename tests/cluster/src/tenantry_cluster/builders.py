"""What builds images: a Docker engine where one answers, else buildah, which needs none."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tenantry_cluster import packages
from tenantry_cluster.debian import base_reference, ensure_base
from tenantry_cluster.kind import engine_is_reachable
from tenantry_cluster.layout import Layout
from tenantry_cluster.running import run
from tenantry_cluster.steps import Steps

BUILD_SECONDS = 1800.0
# Where Debian and Red Hat keep the certificates that the machine trusts.
HOST_TRUST = (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pki/tls/certs/ca-bundle.crt"))
PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy")


@dataclass(frozen=True)
class Order:
    """What to build: `reference` is the name and tag it gets, `archive` the file that it is written to."""

    dockerfile: Path
    context: Path
    reference: str
    args: Mapping[str, str]
    archive: Path


class Builder(Protocol):
    """Builds one image at a time; several may be at work at once."""

    kind: str

    def base(self) -> str | None:
        """Return the name of the image to build upon; None where the Dockerfile's own default can be pulled."""

    def make_base(self, steps: Steps) -> None:
        """Make the image to build upon, if it is not there."""

    def build(self, order: Order) -> str:
        """Build and write the archive; return what the build printed. ClusterError with its last words."""


@dataclass(frozen=True)
class Docker:
    """The engine that the docker command reaches."""

    kind = "docker"

    def base(self) -> str | None:
        return None

    def make_base(self, steps: Steps) -> None:
        """Do nothing: it is pulled."""

    def build(self, order: Order) -> str:
        words = ["build", "-f", f"{order.dockerfile}", "-t", order.reference, *_build_args(order.args)]
        told = run(["docker", *words, f"{order.context}"], timeout=BUILD_SECONDS)
        run(["docker", "save", "-o", f"{order.archive}", order.reference])
        return told


@dataclass(frozen=True)
class Buildah:
    """Debian's buildah, with a store of its own beside the checkout's other state. Wants root."""

    layout: Layout
    kind = "buildah"

    def base(self) -> str | None:
        return base_reference()

    def make_base(self, steps: Steps) -> None:
        ensure_base(steps, self.layout, self.command())

    def build(self, order: Order) -> str:
        # Layers are kept: after a change of our own code only the last steps run again.
        words = [
            "bud",
            "--layers",
            "--force-rm",
            "--isolation",
            "chroot",
            "--network",
            "host",
            "--file",
            f"{order.dockerfile}",
        ]
        words += [*self._mounts(), *_build_args(order.args), "--tag", order.reference, f"{order.context}"]
        told = run([*self.command(), *words], timeout=BUILD_SECONDS)
        # The lowest level of compression: four times as fast as the usual one, and a tenth larger.
        compression = ("--compression-format", "gzip", "--compression-level", "1")
        target = f"oci-archive:{order.archive}:{order.reference}"
        run([*self.command(), "push", "--quiet", *compression, order.reference, target])
        return told

    def command(self) -> list[str]:
        """Return the buildah command with its store, to which arguments are added."""
        store = self.layout.state / "buildah"
        store.mkdir(parents=True, exist_ok=True)
        where = ["--root", f"{store}/root", "--runroot", f"{store}/run"]
        # In mounts of its own: what buildah mounts would outlive it, and keep the store from being removed.
        return ["unshare", "--mount", "buildah", *where, "--storage-driver", _driver(store)]

    def _mounts(self) -> list[str]:
        """Let the build reach what this machine reaches: its trusted certificates, its package index."""
        mounts = [f"{bundle}:{HOST_TRUST[0]}:ro" for bundle in HOST_TRUST if bundle.exists()][:1]
        if settings := pip_settings(os.environ):
            file = self.layout.state / "buildah" / "pip.conf"
            file.write_text(settings)
            mounts.append(f"{file}:/etc/pip.conf:ro")
        return [word for mount in mounts for word in ("--volume", mount)]


def choose_builder(steps: Steps, layout: Layout) -> Builder:
    """Take the Docker engine if one answers, else buildah, installed if need be."""
    if engine_is_reachable():
        return Docker()
    packages.ensure(["buildah", "mmdebstrap"], steps)
    return Buildah(layout)


def pip_settings(environment: Mapping[str, str]) -> str:
    """Render a pip.conf of what the environment says about where packages come from; empty when it says nothing."""
    said = {name: environment.get(f"PIP_{name.replace('-', '_').upper()}") for name in PIP_SETTINGS}
    lines = [f"{name} = {value}" for name, value in said.items() if value]
    return "\n".join(["[global]", *lines, ""]) if lines else ""


def _build_args(args: Mapping[str, str]) -> list[str]:
    return [word for name, value in sorted(args.items()) for word in ("--build-arg", f"{name}={value}")]


def _driver(store: Path) -> str:
    # The kernel refuses overlay on overlay, as when the checkout lies in a container's own file system.
    return "vfs" if run(["stat", "--file-system", "--format=%T", f"{store}"]).strip() == "overlayfs" else "overlay"
