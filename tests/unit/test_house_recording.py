"""The raw script of the benchmarks replays a server's log; what is read from it must be what was sent."""

from tenantry_testing.bench.recording import Message, Renaming, batches, parse_log, values_of

LOG = """\
<<11|app|tenantry:0:1>> LOG:  execute <unnamed>: BEGIN
<<11|app|tenantry:0:1>> LOG:  execute <unnamed>: SELECT $1,
\t  $2, $3
<<11|app|tenantry:0:1>> DETAIL:  parameters: $1 = 'it''s', $2 = NULL, $3 = '7'
<<12|tenantry|other>> LOG:  statement: CREATE ROLE "t_a"; COMMIT
<<12|tenantry|other>> LOG:  duration: 1 ms
<<11|app|tenantry:0:1>> LOG:  execute s1: COMMIT
"""


def a_message(statement: str, session: str = "11", extended: bool = True) -> Message:
    return Message(session, "app", "tenantry:0:1", statement=statement, parameters=(), extended=extended)


def test_a_log_is_read_with_continuations_and_parameters() -> None:
    first, second, third, fourth = parse_log(LOG)
    assert (first.statement, fourth.statement) == ("BEGIN", "COMMIT")
    assert second.statement == "SELECT $1,\n  $2, $3"
    assert second.parameters == ("it's", None, "7")
    assert (third.database, third.extended, third.statement) == ("tenantry", False, 'CREATE ROLE "t_a"; COMMIT')


def test_a_renamed_message_shares_no_name_or_id() -> None:
    unique = "0198c2f0-0000-7000-8000-000000000001"
    renaming = Renaming("rec-a", "raw-7", kept=frozenset({"999999999999"}))
    text = renaming.text(f"t_rec_a rec-a {unique} {unique} 123456789012 999999999999 42")
    words = text.split()
    assert words[:2] == ["t_raw_7", "raw-7"]
    assert words[2] == words[3] != unique
    assert words[4] != "123456789012"
    assert words[5:] == ["999999999999", "42"]


def test_the_end_of_an_id_is_no_number() -> None:
    digits = "0198c2f0-0000-7000-8000-000000000001"
    assert values_of([a_message(f"SELECT '{digits}'")]) == {digits}


def test_values_are_found_in_statements_and_parameters() -> None:
    message = Message("1", "app", "", statement="SELECT 123456789012", parameters=(None, "-987654321"), extended=True)
    assert values_of([message]) == {"123456789012", "-987654321"}


def test_neighbours_of_a_session_share_a_pipeline_and_simple_messages_none() -> None:
    messages = [
        a_message("BEGIN"),
        a_message("SELECT 1"),
        a_message("SELECT 2", session="12"),
        a_message("A; B", extended=False),
        a_message("C; D", extended=False),
        a_message("COMMIT"),
    ]
    made = batches(messages)
    assert [batch["statements"] for batch in made] == [
        [["BEGIN", []], ["SELECT 1", []]],
        [["SELECT 2", []]],
        [["A; B", []]],
        [["C; D", []]],
        [["COMMIT", []]],
    ]
