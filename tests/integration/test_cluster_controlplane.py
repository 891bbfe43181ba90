"""The bare control plane: it serves, it counts, it forgets nothing on a crash and leaves nothing behind."""

import io
import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenantry_cluster import ClusterError, ControlPlane, Kind, Layout, Steps, ensure_cluster, take_down
from tenantry_cluster.waiting import wait_until

BIN = Layout.of_checkout().bin


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane.start(BIN, tmp_path_factory.mktemp("plane"), audit=True) as plane:
        yield plane


def kubectl(plane: ControlPlane, *command: str, stdin: str = "") -> str:
    run = [str(BIN / "kubectl"), f"--kubeconfig={plane.kubeconfig}", *command]
    return subprocess.run(run, check=True, capture_output=True, text=True, input=stdin).stdout


def processes_in(folder: Path) -> list[str]:
    found = subprocess.run(["pgrep", "-f", f"controlplane.*{folder}"], check=False, capture_output=True, text=True)
    return found.stdout.split()


def test_the_kubeconfig_is_an_administrators(plane: ControlPlane) -> None:
    assert kubectl(plane, "auth", "can-i", "*", "*").strip() == "yes"


def test_the_audit_log_names_who_did_what(plane: ControlPlane) -> None:
    kubectl(plane, "create", "secret", "generic", "counted")
    ours = "/api/v1/namespaces/default/secrets?"
    verbs = [event["verb"] for event in plane.audited() if str(event["requestURI"]).startswith(ours)]
    assert verbs == ["create"]


def test_a_pod_needs_no_service_account(plane: ControlPlane) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "alone"},
        "spec": {"containers": [{"name": "c", "image": "none"}]},
    }
    assert "created" in kubectl(plane, "create", "-f", "-", stdin=json.dumps(pod))


def test_objects_survive_a_crash_of_the_api_server(plane: ControlPlane) -> None:
    kubectl(plane, "create", "configmap", "kept")
    plane.stop_api_server()
    with pytest.raises(subprocess.CalledProcessError):
        kubectl(plane, "get", "configmap", "kept")
    plane.start_api_server()
    assert "kept" in kubectl(plane, "get", "configmap", "kept")


def test_stop_ends_the_processes_and_removes_the_folder(tmp_path: Path) -> None:
    with ControlPlane.start(BIN, tmp_path) as plane:
        assert len(processes_in(tmp_path)) == 2
    assert processes_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    plane.stop()


def test_the_processes_end_when_their_starter_is_killed(tmp_path: Path) -> None:
    program = f"""\
        import time
        from pathlib import Path
        from tenantry_cluster import ControlPlane
        plane = ControlPlane.start(Path({str(BIN)!r}), Path({str(tmp_path)!r}))
        print("ready", flush=True)
        time.sleep(600)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"ready\n"
        assert len(processes_in(tmp_path)) == 2
        starter.send_signal(signal.SIGKILL)

    def gone() -> bool:
        return processes_in(tmp_path) == []

    wait_until(gone, seconds=10, what="the processes did not end")
    [left] = tmp_path.iterdir()
    with ControlPlane.start(BIN, tmp_path):
        assert not left.exists()


def test_a_program_that_cannot_start_is_named_with_its_last_words(tmp_path: Path) -> None:
    broken = tmp_path / "bin" / "controlplane"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho no can do >&2\nexit 3\n")
    broken.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(ClusterError, match="ended with 3:\nno can do"):
        ControlPlane.start(broken.parent, work)
    assert list(work.iterdir()) == []


def test_missing_programs_come_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="controlplane is missing") as caught:
        ControlPlane.start(tmp_path)
    assert "binaries" in caught.value.cure


@pytest.fixture
def checkout(tmp_path: Path) -> Layout:
    """Another checkout, with the programs of this one."""
    layout = Layout(tmp_path)
    layout.state.mkdir()
    layout.bin.symlink_to(BIN)
    return layout


def test_a_named_cluster_is_adopted_and_left_as_it_is(plane: ControlPlane, checkout: Layout) -> None:
    steps = Steps(io.StringIO())
    cluster = ensure_cluster(steps, checkout, environment={"TENANTRY_KUBECONFIG": str(plane.kubeconfig)})
    assert (cluster.kind, cluster.node_address) == (Kind.GIVEN, None)
    assert plane.url in cluster.kubeconfig.read_text()
    assert cluster.kubeconfig.stat().st_mode & 0o777 == 0o600
    take_down(steps, checkout)
    assert not cluster.kubeconfig.exists()
    assert kubectl(plane, "get", "--raw=/readyz") == "ok"


def test_a_named_cluster_that_does_not_answer_is_an_error(
    plane: ControlPlane, checkout: Layout, tmp_path: Path
) -> None:
    silent = tmp_path / "silent"
    silent.write_text(plane.kubeconfig.read_text().replace(plane.url, "https://127.0.0.1:1"))
    with pytest.raises(ClusterError, match="refused"):
        ensure_cluster(Steps(io.StringIO()), checkout, environment={"TENANTRY_KUBECONFIG": str(silent)})
    assert not checkout.record.exists()
