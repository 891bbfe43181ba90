"""Where everything lies: one folder, `.tenantry/` in the checkout, and one in /run for what a reboot should forget."""

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The paths of one checkout. Two checkouts share none of them, nor any name that is derived from `id`."""

    root: Path

    @classmethod
    def of_checkout(cls) -> "Layout":
        """The checkout that this package was installed from."""
        return cls(Path(__file__).resolve().parents[4])

    @property
    def id(self) -> str:
        """Eight hexadecimal digits, different for each checkout, always the same for this one."""
        return hashlib.sha256(str(self.root.resolve()).encode()).hexdigest()[:8]

    @property
    def state(self) -> Path:
        return self.root / ".tenantry"

    @property
    def bin(self) -> Path:
        """The programs: controlplane, coredns, kubectl, helm, bucket."""
        return self.state / "bin"

    @property
    def images(self) -> Path:
        """Archives of images, by the digest of what they were made from."""
        return self.state / "images"

    @property
    def binaries_module(self) -> Path:
        """The Go module that the programs are built from."""
        return self.root / "tests" / "cluster" / "binaries"

    @property
    def bucket_module(self) -> Path:
        """The Go module of the tests' server of S3."""
        return self.root / "tests" / "cluster" / "bucket"

    @property
    def node(self) -> Path:
        """State of the local node that outlives a reboot: certificates, etcd, images, pods' volumes."""
        return self.state / "node"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def runtime(self) -> Path:
        """Sockets and mounts of the local node. In /run: a socket's path is at most 107 bytes, a checkout's is not."""
        return Path("/run") / f"tenantry-{self.id}"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def record(self) -> Path:
        """JSON about the cluster that is up; there is no such file when none is."""
        return self.state / "cluster.json"

    @property
    def lock(self) -> Path:
        return self.state / "cluster.lock"
