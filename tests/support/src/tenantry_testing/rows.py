"""Holds docs/rows.md to its word: every roadmap row that claims to work names tests that exist, and that ran.

`python -m tenantry_testing.rows` checks the table against the sources of the tests. With `--require-run` it also reads
the junit files that the suites left in .tenantry/results, and refuses a named test that is missing, skipped or failed.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROADMAP = (
    *(f"F{n}" for n in range(1, 10)),
    *(f"S{n}" for n in range(1, 12)),
    *(f"D{n}" for n in range(1, 5)),
    *("C1", "C2", "I1", "I2", "I3", "O1", "R1", "R2", "R3", "A1", "A2", "A3"),
    *(f"H{n}" for n in range(1, 12)),
    *("K1", "K2", "K3"),
)
WORKING_STATES = frozenset({"works", "first cut"})
STATES = WORKING_STATES | {"planned"}
COLUMNS = 6
TEST_ID = re.compile(r"`(tests/[\w/]+\.py::[\w:]+)`")


class MalformedTable(Exception):
    """A line of the table does not have the six columns it needs."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    id: str
    title: str
    state: str
    command: str
    tests: tuple[str, ...]
    failures: tuple[str, ...]

    @property
    def named(self) -> tuple[str, ...]:
        return self.tests + self.failures


def parse_rows(text: str) -> tuple[Row, ...]:
    """The rows of a Markdown table `| id | row | state | command | test | failure case |`; other lines are passed over.

    Raises MalformedTable for a line that starts like a row and has not six cells.
    """
    return tuple(_row(line) for line in text.splitlines() if re.match(r"\|\s*[A-Z]\d+\s*\|", line))


def _row(line: str) -> Row:
    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
    if len(cells) != COLUMNS:
        raise MalformedTable(f"{COLUMNS} cells wanted, {len(cells)} found: {line}")
    ids = [tuple(TEST_ID.findall(cell)) for cell in cells[4:]]
    return Row(id=cells[0], title=cells[1], state=cells[2], command=cells[3], tests=ids[0], failures=ids[1])


def existing_tests(root: Path) -> frozenset[str]:
    """The ids of all test functions and methods under `root`/tests, without parameters, read from the sources."""
    return frozenset(_ids(root))


def _ids(root: Path) -> Iterator[str]:
    for path in sorted((root / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield from (f"{path.relative_to(root).as_posix()}::{name}" for name in _test_names(tree.body))


def _test_names(body: Sequence[ast.stmt], prefix: str = "") -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            yield prefix + node.name
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            yield from _test_names(node.body, f"{prefix}{node.name}::")


def faults(rows: Sequence[Row], tests: frozenset[str]) -> list[str]:
    """What is wrong with the table itself; empty when nothing is."""
    found = [row.id for row in rows]
    problems = [f"{id_}: missing from the table" for id_ in ROADMAP if id_ not in found]
    problems += [f"{id_}: not a row of the roadmap" for id_ in found if id_ not in ROADMAP]
    problems += [f"{id_}: stands there twice" for id_ in sorted({id_ for id_ in found if found.count(id_) > 1})]
    for row in rows:
        problems += _row_faults(row, tests)
    return problems


def _row_faults(row: Row, tests: frozenset[str]) -> Iterator[str]:
    if row.state not in STATES:
        yield f"{row.id}: state {row.state!r} is none of {', '.join(sorted(STATES))}"
    if row.state in WORKING_STATES:
        if "`" not in row.command:
            yield f"{row.id}: no command that a user types"
        if not row.tests:
            yield f"{row.id}: no test id"
        if not row.failures:
            yield f"{row.id}: no failure case"
    yield from (f"{row.id}: {id_} does not exist" for id_ in row.named if id_ not in tests)


def outcomes(results: Iterable[Path]) -> dict[str, set[str]]:
    """What junit files say of each test id, its parameters taken together: passed, skipped or failed."""
    found: dict[str, set[str]] = {}
    for path in results:
        for case in ElementTree.parse(path).iter("testcase"):
            found.setdefault(_case_id(case), set()).add(_case_outcome(case))
    return found


def _case_id(case: ElementTree.Element) -> str:
    """The pytest id of a case; junit says `tests.unit.test_a.TestB` where pytest says `tests/unit/test_a.py::TestB`."""
    parts = case.get("classname", "").split(".")
    classes = [part for part in parts if part.startswith("Test")]
    path = "/".join(parts[: len(parts) - len(classes)]) + ".py"
    return "::".join([path, *classes, case.get("name", "").split("[", 1)[0]])


def _case_outcome(case: ElementTree.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


def run_faults(rows: Sequence[Row], ran: Mapping[str, set[str]]) -> list[str]:
    """Which named tests did not run to a pass; empty when each did."""
    problems = []
    for row in rows:
        for id_ in row.named:
            outcome = ran.get(id_, {"missing from the results"})
            if outcome != {"passed"}:
                problems.append(f"{row.id}: {id_} was {' and '.join(sorted(outcome - {'passed'}))}")
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tenantry_testing.rows", description="Check docs/rows.md.")
    parser.add_argument("--require-run", action="store_true", help="the named tests must have run and passed")
    parser.add_argument("--root", type=Path, default=Path.cwd())
    options = parser.parse_args(arguments)
    rows = parse_rows((options.root / "docs/rows.md").read_text(encoding="utf-8"))
    problems = faults(rows, existing_tests(options.root))
    if options.require_run:
        problems += run_faults(rows, outcomes(sorted((options.root / ".tenantry/results").glob("*.xml"))))
    for problem in problems:
        print(f"docs/rows.md: {problem}", file=sys.stderr)
    working = sum(row.state in WORKING_STATES for row in rows)
    if not problems:
        ran = ", and the tests they name passed" if options.require_run else ""
        print(f"docs/rows.md: {working} of {len(rows)} rows work or have a first cut{ran}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
