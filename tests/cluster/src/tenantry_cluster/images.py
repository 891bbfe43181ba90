"""The images of the project, each built once for what it is made of and kept as an archive."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tenantry_cluster.archives import Image
from tenantry_cluster.binaries import find_go
from tenantry_cluster.builders import Builder, Order, choose_builder
from tenantry_cluster.dockerfiles import content_digest
from tenantry_cluster.errors import ClusterError
from tenantry_cluster.layout import Layout
from tenantry_cluster.lock import only_one
from tenantry_cluster.running import run
from tenantry_cluster.steps import Steps

# No registry has this name, so nothing is ever pulled from elsewhere by mistake.
REGISTRY = "tenantry.local"
# Older archives of an image stay while someone goes back and forth between two states of the code.
KEPT = 3


@dataclass
class Images:
    """Builds images, and does nothing for those that are built. Safe in several threads and processes at once."""

    steps: Steps
    layout: Layout
    builder: Builder | None = field(default=None, repr=False)

    def operator(self) -> Image:
        """The operator and its command line."""
        return self.build(self.layout.root / "operator" / "Dockerfile", self.layout.root, "operator")

    def service(self, name: str) -> Image:
        """One of the account services, as `accounts`."""
        dockerfile = self.layout.root / "services" / "Dockerfile"
        return self.build(dockerfile, self.layout.root, name, args={"SERVICE": name})

    def pause(self) -> Image:
        """The image that holds a pod's namespaces open."""
        source = self.layout.root / "tests" / "cluster" / "stack" / "pause"
        program = self.layout.state / "stack" / "pause"
        with only_one(self.layout.state / "pause.lock"):
            _compile(source, program / "pause")
        return self.build(source / "Dockerfile", program, "pause", on_base=False)

    def coredns(self) -> Image:
        """The cluster's DNS; its program must have been built."""
        source = self.layout.root / "tests" / "cluster" / "stack" / "coredns"
        return self.build(source / "Dockerfile", self.layout.bin, "coredns", on_base=False)

    def postgres(self) -> Image:
        """Debian's Postgres, with the user and the paths of the public image."""
        return self._of_stack("postgres")

    def traefik(self) -> Image:
        """Traefik's one binary, from its Python package."""
        return self._of_stack("traefik")

    def build(
        self,
        dockerfile: Path,
        context: Path,
        name: str,
        *,
        args: Mapping[str, str] | None = None,
        on_base: bool = True,
    ) -> Image:
        """Return the image's archive and its tag, which names its content; build it if it is not there.

        `on_base` passes the build argument BASE where the Dockerfile's own base cannot be pulled. ClusterError, with
        the last words of the build, when it fails.
        """
        builder = self.chosen_builder()
        base = builder.base() if on_base else None
        all_args = {**(args or {}), **({"BASE": base} if base else {})}
        digest = content_digest(dockerfile, context, args={**all_args, "": builder.kind})
        image = Image(archive=self.layout.images / f"{name}-{digest}.tar", tag=f"{REGISTRY}/{name}:{digest}")
        with only_one(self.layout.images / f".{name}.lock"):
            if not image.archive.exists():
                if base:
                    builder.make_base(self.steps)
                with self.steps.step(f"Image {name}"):
                    self._write(builder, Order(dockerfile, context, image.tag, all_args, image.archive), name)
        return image

    def chosen_builder(self) -> Builder:
        """Return what builds, chosen at first use."""
        if self.builder is None:
            self.builder = choose_builder(self.steps, self.layout)
        return self.builder

    def _of_stack(self, name: str) -> Image:
        folder = self.layout.root / "tests" / "cluster" / "stack" / name
        return self.build(folder / "Dockerfile", folder, name)

    def _write(self, builder: Builder, order: Order, name: str) -> None:
        with tempfile.TemporaryDirectory(dir=self.layout.images, prefix=f".{name}-") as folder:
            young = Path(folder, "image.tar")
            told = builder.build(Order(order.dockerfile, order.context, order.reference, order.args, young))
            log = self.layout.logs / f"image-{name}.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(told)
            young.replace(order.archive)
        archives = self.layout.images.glob(f"{name}-{'[0-9a-f]' * 12}.tar")
        for old in sorted(archives, key=lambda file: file.stat().st_mtime, reverse=True)[KEPT:]:
            old.unlink(missing_ok=True)


def _compile(source: Path, program: Path) -> None:
    """Compile a Go program of one file, without the standard library's C parts; nothing when it is newer than that."""
    newest = max(file.stat().st_mtime for file in source.iterdir())
    if program.exists() and program.stat().st_mtime > newest:
        return
    program.parent.mkdir(parents=True, exist_ok=True)
    flags = ("-trimpath", "-ldflags", "-s -w")
    run(
        [find_go(), "-C", f"{source}", "build", *flags, "-o", f"{program}", "."], env={**os.environ, "CGO_ENABLED": "0"}
    )
    if not program.exists():
        raise ClusterError(f"go built no {program}")
