import io
import os
import threading
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tenantry_cluster import (
    Cluster,
    ClusterError,
    Kind,
    Layout,
    Steps,
    choose,
    cluster,
    ensure_cluster,
    record,
    take_down,
)
from tenantry_cluster.lock import alone
from tenantry_cluster.record import Record
from tenantry_cluster.steps import Step


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    (tmp_path / ".tenantry").mkdir()
    return Layout(tmp_path)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether a Docker engine answers: the last element."""
    answers = [True]
    monkeypatch.setattr(cluster, "engine_is_reachable", lambda: answers[-1])
    return answers


@pytest.mark.usefixtures("engine")
class TestChoice:
    """Named, else what is up, else kind, else the local node."""

    def test_a_named_cluster_comes_first(self, layout: Layout) -> None:
        Record(Kind.LOCAL, None).write(layout)
        assert choose(layout, {"TENANTRY_KUBECONFIG": "/x"}) is Kind.GIVEN

    def test_with_an_engine_it_is_kind(self, layout: Layout) -> None:
        assert choose(layout, {}) is Kind.KIND

    def test_without_an_engine_it_is_the_local_node(self, layout: Layout, engine: list[bool]) -> None:
        engine.append(False)
        assert choose(layout, {}) is Kind.LOCAL

    def test_an_engine_that_comes_later_moves_nobody(self, layout: Layout) -> None:
        Record(Kind.LOCAL, "10.0.0.2").write(layout)
        assert choose(layout, {}) is Kind.LOCAL

    def test_a_killed_run_is_resumed_as_what_it_was(self, layout: Layout) -> None:
        layout.node.mkdir()
        assert choose(layout, {}) is Kind.LOCAL

    def test_a_cluster_that_is_named_no_more_is_left(self, layout: Layout) -> None:
        Record(Kind.GIVEN, None).write(layout)
        assert choose(layout, {}) is Kind.KIND

    @pytest.mark.parametrize("environment", [{"KUBECONFIG": "/home/user/production"}, {"TENANTRY_KUBECONFIG": ""}])
    def test_a_users_cluster_that_was_not_named_is_never_used(
        self, layout: Layout, engine: list[bool], environment: dict[str, str]
    ) -> None:
        engine.append(False)
        assert choose(layout, environment) is Kind.LOCAL


def test_a_named_kubeconfig_that_does_not_exist_is_told_with_the_cure(layout: Layout) -> None:
    with pytest.raises(ClusterError, match="does not exist") as caught:
        ensure_cluster(Steps(io.StringIO()), layout, environment={"TENANTRY_KUBECONFIG": "/nowhere"})
    assert "unset" in caught.value.cure
    assert record.read(layout) is None


def test_a_named_cluster_takes_no_images(layout: Layout, tmp_path: Path) -> None:
    given = Cluster(Kind.GIVEN, layout.kubeconfig, None, layout)
    with pytest.raises(ClusterError, match="x/y:1 cannot be put") as caught:
        given.load_image(tmp_path / "a.tar", "x/y:1")
    assert "registry" in caught.value.cure


def test_taking_down_a_named_cluster_only_forgets_it(layout: Layout) -> None:
    out = io.StringIO()
    Record(Kind.GIVEN, None).write(layout)
    layout.kubeconfig.write_text("")
    take_down(Steps(out), layout)
    assert "stays" in out.getvalue()
    assert not layout.record.exists()
    assert not layout.kubeconfig.exists()


def test_a_run_that_could_not_start_leaves_the_choice_open(
    layout: Layout, engine: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.append(False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match="needs root"):
        ensure_cluster(Steps(io.StringIO()), layout, environment={})
    engine.append(True)
    assert choose(layout, {}) is Kind.KIND


def test_taking_down_nothing_does_nothing(layout: Layout) -> None:
    take_down(Steps(io.StringIO()), layout)
    take_down(Steps(io.StringIO()), layout)


def test_a_second_run_waits_for_the_first_and_says_so(layout: Layout) -> None:
    out, begun, entered = io.StringIO(), threading.Event(), threading.Event()

    class Told(Steps):
        def step(self, title: str) -> AbstractContextManager[Step]:
            begun.set()
            return super().step(title)

    def second() -> None:
        with alone(Told(out), layout):
            entered.set()

    waiting = threading.Thread(target=second)
    with alone(Steps(io.StringIO()), layout):
        waiting.start()
        assert begun.wait(10)
        assert not entered.wait(0.2)
    assert entered.wait(10)
    waiting.join()
    assert f"Wait for another run (process {os.getpid()})" in out.getvalue()


def test_the_record_is_what_was_written(layout: Layout) -> None:
    Record(Kind.LOCAL, "10.0.0.2").write(layout)
    assert record.read(layout) == Record(Kind.LOCAL, "10.0.0.2")
