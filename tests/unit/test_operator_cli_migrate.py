"""`tenantry migrate`: what it sends, what it prints, and its exit codes, without a cluster."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tenantry_operator.cli.app import application
from tenantry_operator.cli.migrate import _wave
from tenantry_operator.cli.migrate_shown import is_over, line, sentence, table
from tenantry_operator.reconcile.migration_desired import plan_hash
from tenantry_testing.histories import CONTRACT, EXPAND, tenant_history, write_history

runner = CliRunner()
NOWHERE = ["--kubeconfig", "/nowhere/kubeconfig"]


@pytest.fixture
def longer(tmp_path: Path) -> Iterator[None]:
    with tenant_history(write_history(tmp_path)):
        yield


@pytest.mark.usefixtures("longer")
def test_the_sql_is_that_of_one_tenant_in_one_transaction() -> None:
    result = runner.invoke(application(), ["migrate", "sql", "--to", EXPAND, "--tenant", "acme-eu"])
    lines = result.output.splitlines()
    assert lines[0] == f"-- plan {plan_hash(EXPAND)}: tenant acme-eu from t0001 to {EXPAND}, in one transaction"
    assert 'SET LOCAL search_path TO "s_acme_eu";' in lines
    assert "ALTER TABLE users ADD COLUMN locale TEXT;" in lines
    assert 'GRANT INSERT, SELECT ON "notes" TO "s_acme_eu_accounts";' in lines
    assert lines[-1] == f'UPDATE "s_acme_eu"."schema_version" SET version = \'{EXPAND}\';'


@pytest.mark.usefixtures("longer")
def test_each_revision_has_a_hash_of_its_own() -> None:
    assert len({plan_hash(one) for one in ("t0001", EXPAND, CONTRACT)}) == 3
    assert plan_hash("t9999") is None


@pytest.mark.usefixtures("longer")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "t9999"], "knows no revision"),
        (["--to", "t0001"], "the first revision"),
        (["--to", EXPAND, "--from", CONTRACT], "lies before"),
    ],
)
def test_sql_that_does_not_exist_is_refused_in_one_line(words: list[str], said: str) -> None:
    result = runner.invoke(application(), ["migrate", "sql", *words])
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr


def test_a_wave_is_written_in_short() -> None:
    assert _wave("10%") == {"percent": 10}
    assert _wave("10%:8") == {"percent": 10, "maxParallel": 8}
    assert _wave("tier=canary,region=eu") == {"selector": {"matchLabels": {"tier": "canary", "region": "eu"}}}
    assert _wave("rest:20") == {"maxParallel": 20}
    assert _wave("rest") == {}


@pytest.mark.parametrize("text", ["", "10", "all", "10%:", "rest:many", "=:8%"])
def test_a_wave_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        _wave(text)


def test_a_revision_without_a_known_phase_asks_for_one() -> None:
    result = runner.invoke(application(), ["migrate", "run", "--to", "t9999", *NOWHERE])
    assert result.exit_code == 2
    assert "--phase" in result.output


@pytest.mark.parametrize("words", [["run", "--to", "t0001"], ["status"], ["status", "one"]])
def test_a_cluster_that_is_not_there_is_told_in_one_line(words: list[str]) -> None:
    result = runner.invoke(application(), ["migrate", *words, *NOWHERE])
    assert result.exit_code == 1
    assert result.stderr == "tenantry: there is no kubeconfig /nowhere/kubeconfig\n"


def body(phase: str | None, **status: object) -> dict[str, object]:
    shown = {"phase": phase, **status} if phase else {}
    return {"metadata": {"name": "run"}, "spec": {"to": "t0002"}, "status": shown}


COUNTS = {"wave": 2, "done": 3, "failed": 1, "held": 1, "total": 9}
STALLED = [
    {"type": "Ready", "status": "False", "reason": "TenantsBehind", "message": "acme is behind"},
    {"type": "Stalled", "status": "True", "reason": "TenantsBehind", "message": "acme is behind"},
]


def test_a_run_is_told_in_a_line() -> None:
    assert line(body(None)) == "Pending: not looked at yet"
    assert line(body("Running", **COUNTS)) == "Running: wave 2, 3 of 9 done, 1 failed, 1 held"
    assert line(body("Pending", **COUNTS, conditions=STALLED)).endswith("(TenantsBehind)")


def test_all_runs_are_told_in_a_table() -> None:
    lines = table([body(None), body("Running", **COUNTS)]).splitlines()
    assert lines[0].split() == ["NAME", "TO", "PHASE", "WAVE", "DONE", "FAILED", "HELD", "TOTAL"]
    assert lines[2].split() == ["run", "t0002", "Running", "2", "3", "1", "1", "9"]


def test_one_run_is_told_with_its_failures() -> None:
    shown = sentence(body("Failed", **COUNTS, failures=[{"tenant": "acme", "message": "it broke"}]))
    assert shown.splitlines()[-1] == "  acme: it broke"


def test_a_run_that_waits_for_somebody_is_not_waited_for() -> None:
    assert is_over(body("Pending", conditions=STALLED))
    assert not is_over(body("Pending", conditions=STALLED), ended=True)
    assert not is_over(body("Running", **COUNTS))
    assert is_over(body("Planned"), ended=True)
