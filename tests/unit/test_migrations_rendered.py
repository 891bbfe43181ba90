"""What ships of the histories is what their scripts say, and is read without Alembic."""

from pathlib import Path

import pytest

from tenantry_migrations import DIRECTORY, POOL, REGISTRY, TENANT, History, WrongHistory, __main__, rendered
from tenantry_migrations.__main__ import generated, main, render_all
from tenantry_migrations.pool_rendering import render_pool_revisions
from tenantry_migrations.rendered import read_rendered, written
from tenantry_testing.histories import write_history

SHIPPED = {"tenant": TENANT, "registry": REGISTRY, "directory": DIRECTORY, "pool": POOL}


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_is_what_the_scripts_render_to(name: str) -> None:
    history: History = SHIPPED[name]
    assert [*history.line] == [*render_all()[name]]


def test_what_is_committed_is_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "--check"]) == 0, capsys.readouterr().err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for the folder of what ships, once that is read."""
    for history in SHIPPED.values():
        assert history.line
    for module in (rendered, __main__):
        monkeypatch.setattr(module, "RENDERED", tmp_path / "rendered")
    return tmp_path / "rendered"


def test_what_was_written_is_read_as_it_was_rendered(folder: Path, tmp_path: Path) -> None:
    longer = render_pool_revisions(write_history(tmp_path / "scripts"))
    assert len(longer) > 1
    for path, text in written("pool", longer).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert [*read_rendered("pool")] == [*longer]


def test_a_file_that_differs_is_missing_or_too_many_is_named_and_mended(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render"]) == 0
    first, second, *_ = sorted(generated())
    first.write_text("{}")
    second.unlink()
    (folder / "tenant" / "9999_t9999.json").write_text("{}")
    capsys.readouterr()
    assert main(["render", "--check"]) == 1
    said = capsys.readouterr().err
    assert [line for line in said.splitlines() if line.startswith("stale: ")] == [
        f"stale: {first.relative_to(folder)}",
        f"stale: {second.relative_to(folder)}",
        "stale: tenant/9999_t9999.json",
    ]
    assert "make render" in said
    assert main(["render"]) == 0
    assert main(["render", "--check"]) == 0


def test_an_installation_without_them_says_so(folder: Path) -> None:
    with pytest.raises(WrongHistory, match="not whole"):
        _ = History(lambda: read_rendered("tenant")).head
