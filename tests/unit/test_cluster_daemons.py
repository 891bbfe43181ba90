"""Processes that carry a node's mark: real ones, as a fake would prove nothing."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tenantry_cluster import ClusterError, daemons
from tenantry_cluster.daemons import Daemon
from tenantry_cluster.waiting import wait_until


@pytest.fixture
def node() -> Iterator[str]:
    """A mark that no other process on this machine carries."""
    node = uuid4().hex
    yield node
    daemons.end([process.pid for process in daemons.processes(node)])


def running(node: str) -> list[daemons.Process]:
    return [process for process in daemons.processes(node) if process.is_daemon]


def wait_for(count: int, node: str) -> None:
    wait_until(lambda: len(list(daemons.processes(node))) == count, seconds=10, what=f"not {count} processes")


def test_a_daemon_is_found_by_its_mark_with_its_part_and_stamp(node: str, tmp_path: Path) -> None:
    daemon = Daemon("sleeper", ["sleep", "600"])
    pid = daemons.start(daemon, node, log=tmp_path / "log")
    wait_until(lambda: bool(running(node)), seconds=10, what="it is not found")
    assert running(node) == [daemons.Process(pid, part="sleeper", stamp=daemon.stamp, is_daemon=True)]


def test_a_child_of_a_daemon_is_found_and_is_no_daemon(node: str, tmp_path: Path) -> None:
    daemon = Daemon("parent", ["sh", "-c", "sleep 600 & wait"])
    pid = daemons.start(daemon, node, log=tmp_path / "log")
    wait_for(2, node)
    os.kill(pid, signal.SIGKILL)
    wait_for(1, node)
    assert running(node) == []


def test_another_nodes_processes_are_not_found(node: str, tmp_path: Path) -> None:
    daemons.start(Daemon("sleeper", ["sleep", "600"]), node, log=tmp_path / "log")
    wait_for(1, node)
    assert list(daemons.processes(node[:-1])) == []


def test_end_returns_when_they_are_gone(node: str, tmp_path: Path) -> None:
    # Deaf to polite signals, as a process of a pod may be.
    deaf = Daemon("deaf", ["sh", "-c", "trap '' TERM INT; while :; do sleep 600; done"])
    pid = daemons.start(deaf, node, log=tmp_path / "log")
    wait_for(2, node)
    daemons.end([process.pid for process in daemons.processes(node)])
    assert not daemons.is_alive(pid)
    daemons.end([pid])


def test_a_program_or_a_configuration_that_changes_changes_the_stamp(tmp_path: Path) -> None:
    program, config = tmp_path / "program", tmp_path / "config"
    program.write_text("1")
    config.write_text("1")
    daemon = Daemon("part", [str(program), "--flag"], [config])
    stamps = [daemon.stamp]
    config.write_text("2")
    stamps.append(daemon.stamp)
    program.write_text("22")
    stamps.append(daemon.stamp)
    stamps.append(Daemon("part", [str(program), "--other"], [config]).stamp)
    assert len(set(stamps)) == 4


def test_a_process_that_does_not_go_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "kill", lambda _pid, _signal: None)
    with pytest.raises(ClusterError, match=rf"cannot be killed: \[{os.getpid()}\]"):
        daemons.end([os.getpid()], seconds=0)
