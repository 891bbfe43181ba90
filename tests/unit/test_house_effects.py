"""What counts as a side effect, and when a process dies at one."""

import pytest

from tenantry_testing.faults.api_faults import ApiFault, Harm, WatchFault
from tenantry_testing.faults.effects import Effects, Moment
from tenantry_testing.faults.statements import Judge, label_of, split

READS = (
    "SELECT 1",
    "SELECT pg_try_advisory_lock($1, $2)",
    "SELECT rolname FROM pg_roles WHERE rolname = 'DROP ROLE x; DELETE FROM y'",
    "WITH a AS (SELECT * FROM b FOR UPDATE) SELECT * FROM a",
    "WITH a AS (SELECT * FROM b FOR NO KEY UPDATE) SELECT * FROM a",
    "SELECT 1 -- ; DROP TABLE x",
    "/* CREATE TABLE x (); */ SHOW work_mem",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SET LOCAL lock_timeout TO '3s'; SET LOCAL statement_timeout TO '60s'",
    "SELECT $$; DROP TABLE x; $$, $tag$ it's $tag$",
    "SELECT E'a\\'; DROP TABLE x; --'",
    "BEGIN READ ONLY; DO $$ BEGIN NULL; END $$; ROLLBACK",
)
WRITES = (
    "CREATE ROLE x",
    "SET LOCAL lock_timeout TO '3s'; GRANT a TO b",
    "WITH ended AS (UPDATE t SET a = 1) INSERT INTO t VALUES (1)",
    "SELECT pg_terminate_backend(pid, $1) FROM pg_stat_activity",
    "SELECT lo_unlink(o) FROM unnest('{1}'::oid[]) o",
    "DO $$ BEGIN NULL; END $$",
    "BEGIN READ ONLY; ROLLBACK; DO $$ BEGIN NULL; END $$",
    "NOTIFY x",
    "COMMENT ON ROLE x IS 'y'",
    '"odd";',
)


@pytest.mark.parametrize("query", READS)
def test_a_read_is_no_effect(query: str) -> None:
    assert Judge().effect([query]) is None


@pytest.mark.parametrize("query", WRITES)
def test_a_write_is_an_effect(query: str) -> None:
    assert Judge().effect([query]) is not None


def test_a_commit_is_an_effect_when_there_is_something_to_commit() -> None:
    judge = Judge()
    said = [judge.effect([query]) for query in ("BEGIN", "INSERT INTO t VALUES (1)", "SELECT 1", "COMMIT", "COMMIT")]
    assert said == [None, "SQL INSERT INTO t VALUES (1)", None, "SQL COMMIT", None]


def test_what_was_rolled_back_is_not_committed() -> None:
    judge = Judge()
    said = [judge.effect([query]) for query in ("BEGIN", "DROP TABLE t", "ROLLBACK", "BEGIN", "SELECT 1", "COMMIT")]
    assert said[-1] is None


def test_a_rollback_to_a_savepoint_leaves_what_came_before_it() -> None:
    judge = Judge()
    for query in ("BEGIN", "DROP TABLE t", "SAVEPOINT s", "ROLLBACK TO SAVEPOINT s"):
        judge.effect([query])
    assert judge.effect(["COMMIT"]) == "SQL COMMIT"


def test_a_label_tells_the_effect_and_no_secret() -> None:
    label = label_of(split("SET LOCAL a TO 'b'; ALTER ROLE \"t_x\" PASSWORD 'SCRAM-SHA-256$secret'; GRANT a TO b"))
    assert label == 'SQL ALTER ROLE "t_x" PASSWORD ? (+1)'


@pytest.mark.parametrize("moment", Moment)
def test_the_callback_runs_once_at_the_effect_it_was_armed_for(moment: Moment) -> None:
    effects, calls = Effects(), []
    effects.note("before it was armed")
    effects.arm(2, moment, lambda: calls.append(1))
    assert effects.note("first").moment is None
    second = effects.note("second")
    assert second.moment is moment
    assert not calls
    effects.strike(second)
    effects.strike(second)
    assert effects.note("third").moment is None
    assert (calls, effects.struck, effects.labels()) == ([1], second, ("first", "second", "third"))


def test_what_is_counted_apart_is_no_point_and_no_peace() -> None:
    effects = Effects()
    effects.arm(1, Moment.BEFORE, lambda: None)
    assert effects.note("a status of a server", apart=True).number == 0
    assert effects.count() == 0
    assert effects.quiet_for() < 60
    assert effects.note("the first").moment is Moment.BEFORE


def test_a_fault_wears_off() -> None:
    fault = ApiFault(Harm.RESET, method="PUT|POST", path="/secrets", times=2)
    asked = [
        ("GET", "/secrets"),
        ("POST", "/tenants"),
        ("PUT", "/secrets/a"),
        ("POST", "/secrets"),
        ("POST", "/secrets"),
    ]
    assert [fault.takes(*one) for one in asked] == [False, False, True, True, False]


def test_stale_events_come_after_newer_ones() -> None:
    fault = WatchFault(stale=True)
    assert fault.alter("a", b"1") == ([b"1"], True)
    assert fault.alter("b", b"2") == ([b"2"], True)
    assert fault.alter("a", b"3") == ([b"3", b"1"], True)


def test_a_garbled_event_ends_the_stream() -> None:
    fault = WatchFault(garble=1)
    assert fault.alter("a", b"123456") == ([b"123\n"], False)
    assert fault.alter("a", b"123456") == ([b"123456"], True)
