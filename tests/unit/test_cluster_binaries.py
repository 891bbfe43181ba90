import json
import os
from pathlib import Path

import pytest

from tenantry_cluster import ClusterError, Layout, binaries


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.binaries_module.mkdir(parents=True)
    (layout.binaries_module / "go.mod").write_text("module x\n")
    layout.bin.mkdir(parents=True)
    return layout


def built(layout: Layout, *programs: str) -> None:
    stamp = binaries.module_stamp(layout.binaries_module)
    for program in programs:
        (layout.bin / program).write_text("")
    (layout.bin / "stamps.json").write_text(json.dumps(dict.fromkeys(programs, stamp)))


def test_what_is_not_there_is_built(layout: Layout) -> None:
    assert binaries.outdated(layout) == ["controlplane", "coredns", "kubectl", "helm"]


def test_what_is_built_from_this_content_stays(layout: Layout) -> None:
    built(layout, "kubectl", "helm")
    assert binaries.outdated(layout) == ["controlplane", "coredns"]
    assert binaries.outdated(layout, ["helm"]) == []


def test_a_changed_module_makes_all_programs_old(layout: Layout) -> None:
    built(layout, *binaries.PACKAGES)
    (layout.binaries_module / "go.mod").write_text("module y\n")
    assert binaries.outdated(layout) == list(binaries.PACKAGES)


def test_a_program_of_unknown_origin_is_built_anew(layout: Layout) -> None:
    (layout.bin / "helm").write_text("")
    assert binaries.outdated(layout, ["helm"]) == ["helm"]


def test_an_unknown_program_is_refused(layout: Layout) -> None:
    with pytest.raises(ClusterError, match="no such program: docker"):
        binaries.outdated(layout, ["docker"])


def test_go_is_found_where_its_installer_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(binaries, "GO_FOLDERS", (str(tmp_path),))
    assert binaries.find_go() == str(go)


def test_without_go_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(binaries, "GO_FOLDERS", ())
    with pytest.raises(ClusterError, match="go command is missing") as caught:
        binaries.find_go()
    assert "install Go" in caught.value.cure


class TestLink:
    """kubectl on root's PATH."""

    @pytest.fixture(autouse=True)
    def as_root(self, monkeypatch: pytest.MonkeyPatch, layout: Layout) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        (layout.bin / "kubectl").write_text("#!/bin/sh\n")
        (layout.bin / "kubectl").chmod(0o755)
        # make puts our own folder first on PATH: a kubectl found there is no reason to link none.
        monkeypatch.setenv("PATH", f"{layout.bin}:/nonexistent")

    def test_it_is_linked_when_there_is_none(self, layout: Layout, tmp_path: Path) -> None:
        assert binaries.link_kubectl(layout.bin / "kubectl", tmp_path / "link")
        assert (tmp_path / "link").resolve() == layout.bin / "kubectl"

    def test_a_dead_link_of_an_earlier_checkout_is_replaced(self, layout: Layout, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "gone")
        assert binaries.link_kubectl(layout.bin / "kubectl", tmp_path / "link")
        assert (tmp_path / "link").exists()

    def test_the_users_own_stays(self, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        own = tmp_path / "own" / "kubectl"
        own.parent.mkdir()
        own.write_text("#!/bin/sh\n")
        own.chmod(0o755)
        monkeypatch.setenv("PATH", f"{layout.bin}:{own.parent}")
        assert not binaries.link_kubectl(layout.bin / "kubectl", tmp_path / "link")
        assert not (tmp_path / "link").exists()

    def test_an_ordinary_user_gets_none(self, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        assert not binaries.link_kubectl(layout.bin / "kubectl", tmp_path / "link")
