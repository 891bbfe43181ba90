import io
import json
import os
from pathlib import Path

import pytest

from tenantry_cluster import ClusterError, Layout, Steps, binaries, steps


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.binaries_module.mkdir(parents=True)
    (layout.binaries_module / "go.mod").write_text("module x\n")
    layout.bucket_module.mkdir(parents=True)
    (layout.bucket_module / "go.mod").write_text("module s3\n")
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


def test_the_server_of_s3_is_built_from_a_module_of_its_own(layout: Layout) -> None:
    built(layout, *binaries.PACKAGES)
    (layout.bucket_module / "go.mod").write_text("module s4\n")
    assert binaries.outdated(layout, tuple(binaries.EVERYTHING)) == ["bucket"]


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


GO = """\
#!/bin/sh
case "$1" in
  list) echo "go: downloading k8s.io/api v0.36.3" >&2; echo k8s.io/api; echo k8s.io/kubernetes ;;
  build)
    shift; while [ "$1" != -o ]; do shift; done
    echo k8s.io/api >&2; echo k8s.io/kubernetes >&2
    [ -e "$(dirname "$0")/broken" ] && { echo "main.go:1: syntax error" >&2; exit 1; }
    echo new > "$2/helm" ;;
esac
"""


class TestBuild:
    """The build itself, by a stand-in for go: the real one takes minutes."""

    @pytest.fixture(autouse=True)
    def go(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        go = tmp_path / "go" / "go"
        go.parent.mkdir()
        go.write_text(GO)
        go.chmod(0o755)
        monkeypatch.setattr(binaries, "find_go", lambda: str(go))
        return go

    def test_a_program_is_built_once(self, layout: Layout) -> None:
        out = io.StringIO()
        binaries.ensure_binaries(Steps(out), layout, programs=["helm"])
        binaries.ensure_binaries(Steps(out), layout, programs=["helm"])
        assert (layout.bin / "helm").read_text() == "new\n"
        assert out.getvalue().count("Compile helm") == 1

    def test_its_progress_is_counted_in_packages(self, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(steps, "SECONDS_BETWEEN_LINES", 0)
        out = io.StringIO()
        binaries.ensure_binaries(Steps(out), layout, programs=["helm"])
        assert "  ...  Compile helm: 2 of at most 2 packages\n" in out.getvalue()

    def test_a_failure_ends_in_the_compilers_words_and_keeps_the_old_program(self, layout: Layout, go: Path) -> None:
        built(layout, "helm")
        (layout.binaries_module / "go.mod").write_text("module y\n")
        go.with_name("broken").write_text("")
        with pytest.raises(ClusterError, match=r"main\.go:1: syntax error"):
            binaries.ensure_binaries(Steps(io.StringIO()), layout, programs=["helm"])
        assert (layout.bin / "helm").read_text() == ""
        assert binaries.outdated(layout, ["helm"]) == ["helm"]

    def test_what_a_killed_build_left_is_removed(self, layout: Layout) -> None:
        left = layout.state / "build-abc"
        left.mkdir()
        binaries.ensure_binaries(Steps(io.StringIO()), layout, programs=["helm"])
        assert not left.exists()
