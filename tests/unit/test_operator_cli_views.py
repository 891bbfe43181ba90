"""What commands print, from values alone: ages, rows, trees, plans, findings of the doctor, documents."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tenantry_crds import Lifecycle
from tenantry_operator.cli.detour import parse_through
from tenantry_operator.cli.doctor_checks import Level, Need, lease_is_fresh, operator_line, rights_lines, server_line
from tenantry_operator.cli.failure import CommandFailed
from tenantry_operator.cli.output import age
from tenantry_operator.cli.plan import CHANGES, applied, exit_code
from tenantry_operator.cli.plan_documents import changes, merged, read_documents
from tenantry_operator.cli.plan_view import Forecast, Outcome, steps_of
from tenantry_operator.cli.tenant_lifecycle import REACHED, is_reached, progress
from tenantry_operator.cli.tenant_psql import psql_environment
from tenantry_operator.cli.tenant_view import explained, markdown, tree, without_secrets
from tenantry_operator.model.tenant import Grant, ObservedSecret
from tenantry_operator.plan.actions import GrantOnSchema, WriteSecret

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (86400 * 2, "2d")]
)
def test_an_age_is_in_the_largest_unit_that_says_enough(seconds: int, text: str) -> None:
    assert age((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == text
    assert age(None, NOW) == "-"


def tenant(*conditions: dict[str, Any], **status: Any) -> dict[str, Any]:
    metadata = {"name": "acme", "generation": 2, "creationTimestamp": "2026-01-02T03:00:00Z"}
    return {"metadata": metadata, "spec": {"displayName": "Acme"}, "status": {"conditions": conditions, **status}}


def said(type: str, status: str, reason: str, message: str = "", generation: int = 2) -> dict[str, Any]:
    return {
        "type": type,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": "2026-01-02T03:03:00Z",
    }


def shown(renderable: Any) -> str:
    console = Console(file=StringIO(), width=200, markup=False)
    console.print(renderable)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_tree_says_what_to_ask_next_and_which_observation_is_old() -> None:
    text = shown(tree(tenant(said("Ready", "False", "NotOurs", "[it] is taken", generation=1)), None, now=NOW))
    assert "Ready=False NotOurs since 65s, of generation 1" in text
    assert "[it] is taken" in text
    assert "`tenantry explain NotOurs`" in text


def test_a_tree_leaves_nothing_of_a_newer_status_out() -> None:
    text = shown(tree(tenant(drift=[{"what": "a grant"}], lifecycle="Suspended"), None, now=NOW))
    assert "what a grant" in text
    assert "lifecycle Suspended" in text
    assert "none yet: the operator has not looked at it" in text


def test_a_report_leaves_out_what_was_once_applied() -> None:
    body = tenant()
    body["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "kept"}
    body["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    clean = without_secrets(body)
    assert clean["metadata"]["annotations"] == {"mine": "kept"}
    assert "managedFields" not in clean["metadata"]
    assert markdown({"tenant": clean, "kubernetes": "v1"}).startswith("# Tenant acme\n")


def test_a_report_explains_what_is_not_well() -> None:
    found = explained(tenant(said("Ready", "False", "NotOurs"), said("Stalled", "False", "Reconciled")))
    assert [one["reason"] for one in found] == ["NotOurs"]
    assert found[0]["commands"]


def secret() -> ObservedSecret:
    data = {"password": "hunter2"}
    return ObservedSecret(name="s", namespace="n", uid="u", resource_version="1", ours=True, data=data)


def test_a_step_says_all_but_what_was_in_a_secret() -> None:
    steps = steps_of(
        [
            WriteSecret(name="s", namespace="n", observed=secret(), reason="it is wrong"),
            GrantOnSchema(grant=Grant("t_acme", "t_acme_app", "USAGE"), reason="it is missing"),
        ]
    )
    assert [str(step) for step in steps] == [
        "WriteSecret name=s namespace=n observed=n/s",
        "GrantOnSchema grant=(on=t_acme grantee=t_acme_app privilege=USAGE)",
    ]
    assert [step.reason for step in steps] == ["it is wrong", "it is missing"]
    assert "hunter2" not in repr(steps)


def test_the_exit_code_is_that_of_the_worst() -> None:
    def one(outcome: Outcome) -> Forecast:
        return Forecast("Tenant acme", "f", outcome)

    assert exit_code([]) == 0
    assert exit_code([one(Outcome.NOTHING), one(Outcome.NOT_PLANNED)]) == 0
    assert exit_code([one(Outcome.NOTHING), one(Outcome.CHANGES)]) == CHANGES
    for bad in (Outcome.REFUSED, Outcome.BLOCKED, Outcome.UNKNOWN):
        assert exit_code([one(Outcome.CHANGES), one(bad)]) == 1


def test_a_file_is_applied_as_kubectl_would() -> None:
    live = {"spec": {"a": 1, "dropped": 2, "others": 3, "deep": {"x": 1, "y": 2}}, "status": {"z": 1}}
    last = {"spec": {"a": 1, "dropped": 2, "deep": {"x": 1, "y": 2}}}
    body = {"spec": {"a": 5, "deep": {"y": 2}, "list": [1]}}
    assert merged(live, body, last)["spec"] == {"a": 5, "others": 3, "deep": {"y": 2}, "list": [1]}
    annotated = {**live, "metadata": {"annotations": {}}}
    assert applied(body, annotated)["spec"]["dropped"] == 2, "nobody applied it, so nobody takes it back"
    annotated["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = json.dumps(last)
    assert "dropped" not in applied(body, annotated)["spec"]


def test_changes_are_told_by_path() -> None:
    found = changes({"a": 1, "b": {"c": 1}}, {"a": 1, "b": {"c": 2}, "d": "x"})
    assert list(map(str, found)) == ["spec.b.c: 1 -> 2", "spec.d: absent -> x"]


def test_documents_come_from_folders_and_lists(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: Tenant\nmetadata: {name: a}\n---\n---\nkind: Tenant\nmetadata: {name: b}\n")
    (tmp_path / "b.json").write_text('{"kind": "List", "items": [{"kind": "Tenant", "metadata": {"name": "c"}}]}')
    (tmp_path / "notes.txt").write_text("no document")
    assert [one.name for one in read_documents([str(tmp_path)])] == ["a", "b", "c"]


@pytest.mark.parametrize("text", ["", "a: [", "- 1\n", "just text\n"])
def test_what_is_no_document_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(CommandFailed):
        read_documents([str(tmp_path / "a.yaml")])
    with pytest.raises(CommandFailed, match="cannot read"):
        read_documents([str(tmp_path / "none.yaml")])


def test_psql_gets_the_secret_by_its_environment_and_nothing_of_the_callers() -> None:
    data = {
        "host": "db",
        "port": "5432",
        "database": "app",
        "username": "u",
        "password": "hunter2",
        "sslmode": "require",
    }
    found = psql_environment({"PGSERVICE": "mine", "PATH": "/bin"}, data, folder=Path("/none"), through="127.0.0.1:99")
    assert found["PATH"] == "/bin"
    assert "PGSERVICE" not in found
    assert (found["PGHOST"], found["PGHOSTADDR"], found["PGPORT"]) == ("db", "127.0.0.1", "99")
    assert found["PGPASSWORD"] == "hunter2"


def test_a_way_through_names_a_server_or_all() -> None:
    assert parse_through("127.0.0.1:99") == ("", "127.0.0.1", 99)
    assert parse_through("primary=[::1]:99") == ("primary", "::1", 99)


@pytest.mark.parametrize("text", ["here", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:many", "=127.0.0.1:1", ":1"])
def test_a_way_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(CommandFailed, match="--through"):
        parse_through(text)


def deployment(wanted: int, ready: int) -> dict[str, Any]:
    pods = {"spec": {"containers": [{"image": "i"}]}}
    spec = {"replicas": wanted, "template": pods}
    return {"metadata": {"namespace": "n"}, "spec": spec, "status": {"readyReplicas": ready}}


@pytest.mark.parametrize(
    ("wanted", "ready", "level"), [(1, 1, Level.OK), (2, 1, Level.WARN), (1, 0, Level.FAIL), (0, 0, Level.FAIL)]
)
def test_an_operator_is_judged_by_its_pods(wanted: int, ready: int, level: Level) -> None:
    assert operator_line(deployment(wanted, ready)).level is level


def test_a_lease_is_fresh_within_its_duration_whichever_clock_is_ahead() -> None:
    lease = {"spec": {"renewTime": NOW.isoformat(), "leaseDurationSeconds": 15}}
    assert lease_is_fresh(lease, NOW + timedelta(seconds=15))
    assert lease_is_fresh(lease, NOW - timedelta(seconds=15))
    assert not lease_is_fresh(lease, NOW + timedelta(seconds=16))
    assert not lease_is_fresh({"spec": {}}, NOW)


def test_a_server_is_judged_by_ready_and_its_generation() -> None:
    body = {"metadata": {"name": "primary", "generation": 2}, "spec": {}, "status": {"conditions": []}}
    assert server_line(body).level is Level.FAIL
    for status, generation, level in (("True", 2, Level.OK), ("True", 1, Level.WARN), ("False", 2, Level.FAIL)):
        body["status"] = {"conditions": [said("Ready", status, "NotReachable", "no", generation)]}
        assert server_line(body).level is level
    assert server_line(body).todo == "tenantry explain NotReachable"


def test_a_right_that_lacks_says_for_what_it_is_needed() -> None:
    assert [one.level for one in rights_lines([])] == [Level.OK]
    (line,) = rights_lines([Need("get", "secrets", "tenant psql")])
    assert (line.level, line.said) == (Level.WARN, "you may not get secrets: needed for tenant psql")


def test_a_lifecycle_is_reached_when_the_newest_spec_is_said_to_be() -> None:
    for lifecycle, wanted in REACHED.items():
        there = [said(kind, *words) for kind, words in wanted.items()]
        assert is_reached(tenant(*there), lifecycle)
        assert not any(is_reached(tenant(*there), other) for other in Lifecycle if other is not lifecycle)
        assert not is_reached({**tenant(*there), "metadata": {"generation": 3}}, lifecycle)
        for one in there:
            assert not is_reached(tenant(*(other for other in there if other is not one)), lifecycle)


def test_the_way_to_a_lifecycle_is_told_in_a_line() -> None:
    old = said("Ready", "True", "Provisioned", generation=1)
    assert progress(tenant(old)) == "acme: the operator has not looked at it yet"
    failing = said("Ready", "False", "ServerUnreachable", "no answer")
    assert progress(tenant(failing, said("Suspended", "False", "Suspending"))) == (
        "acme: Suspending (ServerUnreachable: no answer)"
    )
    assert progress(tenant(failing)) == "acme: access not looked at (ServerUnreachable: no answer)"
    assert progress(tenant(said("Ready", "True", "Provisioned"), said("Suspended", "True", "Resuming"))) == (
        "acme: Resuming"
    )
