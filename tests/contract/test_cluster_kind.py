"""The kind path against stand-ins for `docker` and `kind`, which write down how they were called."""

import io
import json
import os
import sys
import tarfile
from pathlib import Path

import pytest

from tenantry_cluster import ClusterError, Kind, Layout, Steps, ensure_cluster, kind, take_down

# Each stand-in keeps its clusters in a file and fails as the real program does.
DOCKER = """\
import sys
from pathlib import Path
here = Path(__file__).parent
with (here / "calls").open("a") as calls:
    print("docker", *sys.argv[1:], file=calls)
if not (here / "engine").exists():
    sys.exit("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?")
match sys.argv[1]:
    case "info": print("29.9.2")
    case "inspect": print("172.18.0.2 ")
    case "start": sys.exit((here / "broken").exists())
"""
KIND = """\
import sys
from pathlib import Path
here = Path(__file__).parent
with (here / "calls").open("a") as calls:
    print("kind", *sys.argv[1:], file=calls)
clusters = here / "clusters"
match sys.argv[1:3]:
    case ["version"]: print("kind v%s go1.26.1 linux/amd64" % (here / "version").read_text())
    case ["get", "clusters"]: print(clusters.read_text() if clusters.exists() else "No kind clusters found.")
    case ["create", "cluster"]:
        clusters.write_text(sys.argv[sys.argv.index("--name") + 1])
        Path(sys.argv[sys.argv.index("--kubeconfig") + 1]).write_text("of kind")
    case ["delete", "cluster"]: clusters.unlink()
    case ["export", "kubeconfig"]: Path(sys.argv[sys.argv.index("--kubeconfig") + 1]).write_text("of kind")
"""


class Machine:
    """A machine on which only the stand-ins are installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, program in {"docker": DOCKER, "kind": KIND, "kubectl": "", "helm": ""}.items():
            (folder / name).write_text(f"#!{sys.executable}\n{program}")
            (folder / name).chmod(0o755)
        self.note("engine")
        self.note("version", kind.VERSION)

    def note(self, name: str, text: str = "") -> None:
        (self.folder / name).write_text(text)

    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()

    def called(self, start: str) -> list[str]:
        return [call for call in self.calls() if call.startswith(start)]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return Machine(folder)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "checkout")
    layout.state.mkdir(parents=True)
    return layout


def steps() -> Steps:
    return Steps(io.StringIO())


def archive(path: Path, name: str) -> Path:
    annotations = {"org.opencontainers.image.ref.name": name}
    content = json.dumps({"manifests": [{"digest": "sha256:1", "annotations": annotations}]}).encode()
    entry = tarfile.TarInfo("index.json")
    entry.size = len(content)
    with tarfile.open(path, "w") as tar:
        tar.addfile(entry, io.BytesIO(content))
    return path


def test_a_cluster_is_created_from_the_pinned_image_in_a_kubeconfig_of_its_own(
    machine: Machine, layout: Layout
) -> None:
    cluster = ensure_cluster(steps(), layout, environment={})
    [create] = machine.called("kind create")
    name = f"tenantry-{layout.id}"
    assert create == (
        f"kind create cluster --name {name} --image {kind.NODE_IMAGE} --kubeconfig {layout.kubeconfig} --wait=180s"
    )
    assert "@sha256:" in kind.NODE_IMAGE
    assert (cluster.kind, cluster.kubeconfig, cluster.node_address) == (Kind.KIND, layout.kubeconfig, "172.18.0.2")


def test_a_second_run_keeps_the_cluster_and_starts_its_container(machine: Machine, layout: Layout) -> None:
    ensure_cluster(steps(), layout, environment={})
    ensure_cluster(steps(), layout, environment={})
    assert len(machine.called("kind create")) == 1
    assert machine.called("docker start") == [f"docker start tenantry-{layout.id}-control-plane"]
    assert machine.called("kind delete") == []


def test_a_cluster_that_does_not_start_is_made_anew(machine: Machine, layout: Layout) -> None:
    ensure_cluster(steps(), layout, environment={})
    machine.note("broken")
    ensure_cluster(steps(), layout, environment={})
    assert len(machine.called("kind delete")) == 1
    assert len(machine.called("kind create")) == 2


def test_an_image_is_loaded_and_found_under_its_name(machine: Machine, layout: Layout, tmp_path: Path) -> None:
    cluster = ensure_cluster(steps(), layout, environment={})
    file = archive(tmp_path / "a.tar", "docker.io/tenantry/operator:1")
    cluster.load_image(file, "tenantry/operator:1")
    assert machine.called("kind load") == [f"kind load image-archive {file} --name tenantry-{layout.id}"]
    assert machine.called("docker exec") == []


def test_an_image_of_another_name_is_tagged_in_the_node(machine: Machine, layout: Layout, tmp_path: Path) -> None:
    cluster = ensure_cluster(steps(), layout, environment={})
    cluster.load_image(archive(tmp_path / "a.tar", "built:1"), "tenantry/operator:1")
    [tag] = machine.called("docker exec")
    assert tag.endswith("ctr --namespace=k8s.io images tag --force built:1 docker.io/tenantry/operator:1")


def test_down_deletes_it_once(machine: Machine, layout: Layout) -> None:
    ensure_cluster(steps(), layout, environment={})
    take_down(steps(), layout)
    take_down(steps(), layout)
    assert len(machine.called("kind delete")) == 1
    assert not layout.record.exists()


def test_down_deletes_what_a_killed_run_left_half_made(machine: Machine, layout: Layout) -> None:
    ensure_cluster(steps(), layout, environment={})
    # What a run that is killed while kind works has noted by then.
    layout.record.write_text('{"kind": "kind", "kubeconfig": "", "node_address": null}')
    take_down(steps(), layout)
    assert len(machine.called("kind delete")) == 1


def test_down_with_the_engine_stopped_says_so_and_forgets_nothing(machine: Machine, layout: Layout) -> None:
    ensure_cluster(steps(), layout, environment={})
    (machine.folder / "engine").unlink()
    with pytest.raises(ClusterError, match="engine does not answer") as caught:
        take_down(steps(), layout)
    assert "start Docker" in caught.value.cure
    assert layout.record.exists()


def test_a_client_without_an_engine_is_not_enough(machine: Machine) -> None:
    assert kind.engine_is_reachable()
    (machine.folder / "engine").unlink()
    assert not kind.engine_is_reachable()


def test_no_docker_at_all_is_no_engine(machine: Machine) -> None:
    (machine.folder / "docker").unlink()
    assert not kind.engine_is_reachable()


def test_a_kind_too_old_for_the_node_image_is_not_used(machine: Machine, layout: Layout) -> None:
    assert kind.find_kind(layout) == os.path.join(machine.folder, "kind")
    machine.note("version", "0.31.0")
    assert kind.find_kind(layout) is None


def test_a_failure_of_kind_is_told_in_its_own_words(machine: Machine, layout: Layout) -> None:
    (machine.folder / "kind").write_text(
        (machine.folder / "kind")
        .read_text()
        .replace(
            'case ["create", "cluster"]:', 'case ["create", "cluster"]: sys.exit("port is taken")\n    case ["never"]:'
        )
    )
    with pytest.raises(ClusterError, match="port is taken"):
        ensure_cluster(steps(), layout, environment={})
