from pathlib import Path

import pytest

from tenantry_cluster import Layout, kernel


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A checkout on a machine whose kernel has one of the settings that kubelet overwrites."""
    monkeypatch.setattr(kernel, "SETTINGS", tmp_path / "sys")
    monkeypatch.setattr(kernel, "RUN", tmp_path / "run")
    (tmp_path / "run").mkdir()
    (tmp_path / "sys" / "kernel").mkdir(parents=True)
    panic(tmp_path).write_text("1\n")
    return Layout(tmp_path)


def panic(folder: Path) -> Path:
    return folder / "sys" / "kernel" / "panic"


def test_settings_are_put_back_as_they_were_before_the_first_start(layout: Layout, tmp_path: Path) -> None:
    kernel.remember_settings()
    panic(tmp_path).write_text("10\n")
    # A second start finds what kubelet wrote; that is not what the machine had.
    kernel.remember_settings()
    kernel.restore_settings(layout)
    assert panic(tmp_path).read_text() == "1\n"


def test_settings_stay_while_another_checkouts_node_needs_them(layout: Layout, tmp_path: Path) -> None:
    kernel.remember_settings()
    panic(tmp_path).write_text("10\n")
    other = tmp_path / "run" / "tenantry-other"
    other.mkdir()
    kernel.restore_settings(layout)
    assert panic(tmp_path).read_text() == "10\n"
    other.rmdir()
    kernel.restore_settings(layout)
    assert panic(tmp_path).read_text() == "1\n"


def test_what_was_never_started_puts_nothing_back(layout: Layout, tmp_path: Path) -> None:
    panic(tmp_path).write_text("10\n")
    kernel.restore_settings(layout)
    assert panic(tmp_path).read_text() == "10\n"


def test_nothing_to_remove_is_no_error(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "CGROUPS", tmp_path)
    kernel.remove_cgroups(layout)


def test_cgroups_are_removed_from_the_innermost(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "CGROUPS", tmp_path)
    # Plain folders: without the kernel behind them they hold no `cgroup.procs` that would keep them from removal.
    monkeypatch.setattr(kernel, "_members", lambda _top: iter(()))
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "cgroup.procs").write_text("")
    (tmp_path / "memory" / kernel.cgroup(layout).strip("/") / "kubepods" / "pod1").mkdir(parents=True)
    kernel.remove_cgroups(layout)
    assert [entry.name for entry in (tmp_path / "memory").iterdir()] == ["cgroup.procs"]


def test_a_version_2_hierarchy_hands_all_its_controllers_down(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "CGROUPS", tmp_path)
    (tmp_path / "cgroup.controllers").write_text("memory\n")
    (tmp_path / "cgroup.procs").write_text("")
    kernel.make_cgroups(layout)
    assert (tmp_path / kernel.cgroup(layout).strip("/")).is_dir()
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"
