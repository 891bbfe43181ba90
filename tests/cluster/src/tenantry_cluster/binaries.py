"""The programs of the node and of the tests, built from Go modules: kept while a module's content is the same."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tenantry_cluster import files
from tenantry_cluster.errors import ClusterError
from tenantry_cluster.layout import Layout
from tenantry_cluster.steps import Steps

KUBERNETES = "v1.36.3"
HELM = "v4.3.1"
PACKAGES = {
    "controlplane": "./controlplane",
    "coredns": "./coredns",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "helm": "helm.sh/helm/v4/cmd/helm",
}
TEST_PACKAGES = {"bucket": "."}
"""A server of S3 for the tests: a module of its own, which changes without the others being built anew."""
EVERYTHING = {**PACKAGES, **TEST_PACKAGES}
VARIABLES = {
    "k8s.io/component-base/version.gitVersion": KUBERNETES,
    "k8s.io/component-base/version.gitMajor": KUBERNETES.lstrip("v").split(".", maxsplit=1)[0],
    "k8s.io/component-base/version.gitMinor": KUBERNETES.split(".")[1],
    "helm.sh/helm/v4/internal/version.version": HELM,
}
FLAGS = ["-trimpath", "-ldflags", " ".join(["-s", "-w", *(f"-X {key}={value}" for key, value in VARIABLES.items())])]
GO_FOLDERS = ("/usr/local/go/bin", "/usr/lib/go/bin")
GO_CURE = "install Go 1.26 or newer (https://go.dev/dl/) into /usr/local/go, or put it on PATH"
LINK = Path("/usr/local/bin/kubectl")


def ensure_binaries(steps: Steps, layout: Layout, *, programs: Sequence[str] = tuple(PACKAGES)) -> None:
    """Build those of the programs that are absent or older than their module.

    At first, 6 to 11 minutes on 2 cores; about one of them for the server of S3.
    """
    wanted = outdated(layout, programs)
    for module in (layout.binaries_module, layout.bucket_module):
        own = [program for program in wanted if _module(layout, program) == module]
        if own:
            _ensure(steps, layout, own, module=module)
    if "kubectl" in programs:
        link_kubectl(layout.bin / "kubectl", LINK)


def outdated(layout: Layout, programs: Sequence[str] = tuple(PACKAGES)) -> list[str]:
    """Those of the programs that are absent or were built from another content of their module."""
    unknown = [program for program in programs if program not in EVERYTHING]
    if unknown:
        raise ClusterError(f"no such program: {', '.join(unknown)}", cure=f"there are {', '.join(EVERYTHING)}")
    stamps = {module: module_stamp(module) for module in {_module(layout, program) for program in programs}}
    return [each for each in programs if not _is_current(layout.bin, each, stamps[_module(layout, each)])]


def find_go() -> str:
    """The path of the go command, also where its installer puts it. ClusterError with the cure when there is none."""
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), *GO_FOLDERS])
    found = shutil.which("go", path=search)
    if found is None:
        raise ClusterError("the go command is missing, which builds the cluster's programs", cure=GO_CURE)
    return found


def find_kubectl(layout: Layout) -> str:
    """Ours if it is built, else the one on PATH."""
    ours = layout.bin / "kubectl"
    found = str(ours) if ours.exists() else shutil.which("kubectl")
    if found is None:
        raise ClusterError("kubectl is missing", cure="python -m tenantry_cluster binaries kubectl")
    return found


def module_stamp(module: Path) -> str:
    """A digest of all that goes into the programs."""
    digest = hashlib.sha256("\0".join(FLAGS).encode())
    for file in sorted(file for file in module.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(module)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def link_kubectl(kubectl: Path, link: Path) -> bool:
    """Put kubectl on root's PATH, when none is there but perhaps a dead link of ours. Whether it was put."""
    dead = link.is_symlink() and not link.exists()
    if os.geteuid() != 0 or (not dead and _elsewhere(kubectl)):
        return False
    if dead:
        link.unlink()
    link.symlink_to(kubectl)
    return True


def _elsewhere(kubectl: Path) -> bool:
    """Whether PATH leads to a kubectl outside our own folder, where `make` looks first."""
    folders = [each for each in os.environ.get("PATH", os.defpath).split(os.pathsep) if Path(each) != kubectl.parent]
    return shutil.which("kubectl", path=os.pathsep.join(folders)) is not None


def _module(layout: Layout, program: str) -> Path:
    return layout.bucket_module if program in TEST_PACKAGES else layout.binaries_module


def _ensure(steps: Steps, layout: Layout, programs: Sequence[str], *, module: Path) -> None:
    go, stamp = find_go(), module_stamp(module)
    listed = [go, "list", "-deps", *_packages(programs)]
    with steps.step(f"Download Go modules for {', '.join(programs)}") as step:
        total = len(_lines(listed, layout, _noting(step.note, "modules"), module=module))
    with steps.step(f"Compile {', '.join(programs)}") as step:
        _build(go, programs, layout, module=module, progress=_noting(step.note, f"of at most {total} packages"))
        _stamp(layout.bin, programs, stamp)


def _packages(programs: Sequence[str]) -> list[str]:
    return [EVERYTHING[program] for program in programs]


def _build(go: str, programs: Sequence[str], layout: Layout, *, module: Path, progress: Callable[[str], None]) -> None:
    """Build beside the old programs and put the new ones in their place at once: an old one may be running."""
    layout.bin.mkdir(parents=True, exist_ok=True)
    for leftover in layout.state.glob("build-*"):
        shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(dir=layout.state, prefix="build-") as folder:
        _lines([go, "build", "-v", *FLAGS, "-o", f"{folder}/", *_packages(programs)], layout, progress, module=module)
        for program in programs:
            Path(folder, program).replace(layout.bin / program)


def _lines(command: Sequence[str], layout: Layout, progress: Callable[[str], None], *, module: Path) -> list[str]:
    """The lines that a go command prints; `progress` is told each line of its standard error."""
    environment = os.environ | {"CGO_ENABLED": "0"}
    log = layout.logs / "go.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryFile("w+") as output,
        log.open("w") as told,
        subprocess.Popen(
            command, cwd=module, env=environment, stdout=output, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        last: list[str] = []
        for line in process.stderr or ():
            told.write(line)
            last = [*last[-20:], line]
            progress(line)
        if process.wait() != 0:
            raise ClusterError(f"{' '.join(command[:3])} failed:\n{''.join(last)}", cure=f"see {log}")
        output.seek(0)
        return output.read().splitlines()


def _noting(note: Callable[[str], None], what: str) -> Callable[[str], None]:
    seen = 0

    def count(_line: str) -> None:
        nonlocal seen
        seen += 1
        note(f"{seen} {what}")

    return count


def _is_current(folder: Path, program: str, stamp: str) -> bool:
    return (folder / program).exists() and _stamps(folder).get(program) == stamp


def _stamps(folder: Path) -> dict[str, str]:
    file = folder / "stamps.json"
    return dict(json.loads(file.read_text())) if file.exists() else {}


def _stamp(folder: Path, programs: Sequence[str], stamp: str) -> None:
    stamps = _stamps(folder) | dict.fromkeys(programs, stamp)
    files.write(folder / "stamps.json", json.dumps(stamps, indent=1))
