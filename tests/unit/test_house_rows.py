"""The table of rows is checked by a machine; these are the ways in which it may lie."""

from pathlib import Path

import pytest

from tenantry_testing import rows
from tenantry_testing.rows import MalformedTable, Row

ROOT = Path(__file__).parents[2]
LINE = (
    "| F3 | modularity | works | `make check` | `tests/unit/test_a.py::test_one` "
    "| `tests/unit/test_a.py::TestB::test_two` refuses |"
)


def a_row(**changes: object) -> Row:
    values = {
        "id": "F3",
        "title": "modularity",
        "state": "works",
        "command": "`make check`",
        "tests": ("tests/unit/test_a.py::test_one",),
        "failures": ("tests/unit/test_a.py::TestB::test_two",),
    }
    return Row(**(values | changes))  # type: ignore[arg-type]


def test_a_line_is_read() -> None:
    assert rows.parse_rows(f"# Rows\n\n| id | row |\n|---|---|\n{LINE}\n") == (a_row(),)


def test_a_line_with_too_few_cells_is_refused() -> None:
    with pytest.raises(MalformedTable, match="6 cells"):
        rows.parse_rows("| F3 | modularity | works |")


def test_test_ids_are_read_from_sources(tmp_path: Path) -> None:
    folder = tmp_path / "tests/unit"
    folder.mkdir(parents=True)
    (folder / "test_a.py").write_text(
        "def test_one(): ...\ndef support(): ...\nclass TestB:\n    async def test_two(self): ...\n", encoding="utf-8"
    )
    assert rows.existing_tests(tmp_path) == set(a_row().named)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (a_row(state="done"), "F3: state 'done'"),
        (a_row(command="run it"), "F3: no command"),
        (a_row(tests=()), "F3: no test id"),
        (a_row(failures=()), "F3: no failure case"),
        (a_row(tests=("tests/unit/test_a.py::test_gone",)), "F3: tests/unit/test_a.py::test_gone does not exist"),
        (a_row(id="Z9"), "Z9: not a row"),
        (a_row(id="F4"), "F3: missing"),
    ],
)
def test_a_fault_of_a_row_is_named(row: Row, complaint: str) -> None:
    complete = [a_row(id=id_) for id_ in rows.ROADMAP if id_ not in {"F3", row.id}]
    found = rows.faults([*complete, row], frozenset(a_row().named))
    assert any(problem.startswith(complaint) for problem in found)


def test_a_whole_table_has_no_fault() -> None:
    assert rows.faults([a_row(id=id_) for id_ in rows.ROADMAP], frozenset(a_row().named)) == []


def test_a_planned_row_needs_no_test() -> None:
    planned = a_row(state="planned", command="", tests=(), failures=())
    assert not [problem for problem in rows.faults([planned], frozenset()) if "missing" not in problem]


def results(tmp_path: Path, body: str) -> list[Path]:
    path = tmp_path / "unit.xml"
    path.write_text(f"<testsuites><testsuite>{body}</testsuite></testsuites>", encoding="utf-8")
    return [path]


PASSED = '<testcase classname="tests.unit.test_a" name="test_one[x.y]"/>'
PASSED_IN_CLASS = '<testcase classname="tests.unit.test_a.TestB" name="test_two"/>'


def test_results_name_tests_as_pytest_does(tmp_path: Path) -> None:
    ran = rows.outcomes(results(tmp_path, PASSED + PASSED_IN_CLASS))
    assert rows.run_faults([a_row()], ran) == []


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (PASSED, "missing from the results"),
        (PASSED + '<testcase classname="tests.unit.test_a.TestB" name="test_two"><skipped/></testcase>', "was skipped"),
        (PASSED + '<testcase classname="tests.unit.test_a.TestB" name="test_two"><failure/></testcase>', "was failed"),
        (PASSED + '<testcase classname="tests.unit.test_a.TestB" name="test_two"><error/></testcase>', "was failed"),
        (
            PASSED
            + PASSED_IN_CLASS
            + '<testcase classname="tests.unit.test_a" name="test_one[z]"><skipped/></testcase>',
            "was skipped",
        ),
    ],
)
def test_a_named_test_that_did_not_pass_is_a_fault(tmp_path: Path, body: str, complaint: str) -> None:
    found = rows.run_faults([a_row()], rows.outcomes(results(tmp_path, body)))
    assert len(found) == 1
    assert complaint in found[0]


def test_the_table_of_this_project_holds() -> None:
    table = rows.parse_rows((ROOT / "docs/rows.md").read_text(encoding="utf-8"))
    assert rows.faults(table, rows.existing_tests(ROOT)) == []
