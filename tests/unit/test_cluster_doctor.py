import os
import platform
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tenantry_cluster import ClusterError, Kind, Layout, binaries, cli, doctor, packages
from tenantry_cluster.doctor import Finding
from tenantry_cluster.record import Record


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine that has all it needs for the local node."""
    monkeypatch.setattr(doctor, "choose", lambda _layout, _environment: Kind.LOCAL)
    monkeypatch.setattr(doctor, "engine_is_reachable", lambda: False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(packages, "missing", lambda _names: [])
    monkeypatch.setattr(binaries, "find_go", lambda: "/usr/local/go/bin/go")
    monkeypatch.setattr(binaries, "outdated", lambda _layout: [])
    return monkeypatch


def faults(layout: Layout) -> list[Finding]:
    # How much room there is on the machine that runs the tests is not theirs to judge.
    return [finding for finding in doctor.examine(layout, {}) if not finding.good and "GB" not in finding.text]


def test_a_machine_that_has_everything_has_no_faults(machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert faults(Layout(tmp_path)) == []


def test_an_ordinary_user_is_told_the_ways_out(machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine.setattr(os, "geteuid", lambda: 1000)
    [fault] = faults(Layout(tmp_path))
    assert fault.fatal
    assert "TENANTRY_KUBECONFIG" in fault.cure


def test_packages_that_root_can_install_are_not_fatal(machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine.setattr(packages, "missing", lambda _names: ["runc"])
    machine.setattr("shutil.which", lambda _name: "/usr/bin/apt-get")
    [fault] = faults(Layout(tmp_path))
    assert (fault.fatal, fault.text) == (False, "packages are missing: runc")


def test_go_is_wanted_only_where_something_is_to_be_built(machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_go() -> str:
        raise ClusterError("the go command is missing", cure="install Go")

    machine.setattr(binaries, "find_go", no_go)
    assert faults(Layout(tmp_path)) == []
    machine.setattr(binaries, "outdated", lambda _layout: ["helm"])
    assert [(fault.text, fault.fatal) for fault in faults(Layout(tmp_path))] == [
        ("the go command is missing", True),
        ("programs are not built: helm", False),
    ]


def test_a_node_of_which_nothing_runs_can_be_healed(machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    Record(Kind.LOCAL, None).write(layout)
    [fault] = faults(layout)
    assert "lacks containerd, etcd, kube-apiserver" in fault.text
    assert "heals" in fault.cure


@pytest.mark.parametrize(("fatal", "code"), [(True, 1), (False, 0)])
def test_the_exit_code_says_whether_a_cluster_can_come_up(
    monkeypatch: pytest.MonkeyPatch, fatal: bool, code: int
) -> None:
    lack = Finding(False, "something is missing", cure="bring it", fatal=fatal)
    monkeypatch.setattr(doctor, "examine", lambda _layout: [Finding(True, "all is well"), lack])
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert result.exit_code == code
    assert "OK    all is well" in result.output
    assert "cure: bring it" in result.output


def test_an_expected_failure_is_told_in_words_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_steps: object, _layout: object) -> None:
        raise ClusterError("it is broken", cure="mend it")

    monkeypatch.setattr(cli, "ensure_cluster", fail)
    result = CliRunner().invoke(cli.app, ["up"])
    assert result.exit_code == 1
    assert "it is broken\ncure: mend it" in result.output
    assert "Traceback" not in result.output
