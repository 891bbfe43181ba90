"""Rules of the house that a look at the tree decides."""

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS_WITHOUT_PACKAGE = ("crds", "operator", "migrations", "services", "pulumi", "tests")
LONGEST_MODULE = 400


def committed(pattern: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", pattern],
        check=True,
        capture_output=True,
        text=True,
    )
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def stray_packages(files: list[Path]) -> list[str]:
    """The `__init__.py` outside of a `src/` layout: it would break the standard library or hide an SDK."""
    relative = [path.relative_to(ROOT) for path in files]
    return [str(path) for path in relative if path.parts[0] in ROOMS_WITHOUT_PACKAGE and "src" not in path.parts]


def test_no_stray_package_marker() -> None:
    assert stray_packages(committed("*__init__.py")) == []


@pytest.mark.parametrize("path", ["operator/__init__.py", "tests/unit/__init__.py", "services/kit/__init__.py"])
def test_a_stray_package_marker_is_noticed(path: str) -> None:
    assert stray_packages([ROOT / path, ROOT / "operator/src/tenantry_operator/__init__.py"]) == [path]


def test_test_modules_have_names_of_their_own() -> None:
    names = Counter(path.name for path in committed("tests/*.py") if path.name.startswith("test_"))
    assert [name for name, count in names.items() if count > 1] == []


def test_modules_are_short_enough_to_read() -> None:
    sources = [path for path in committed("*.py") if "src" in path.relative_to(ROOT).parts]
    long = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in sources}
    assert {name: lines for name, lines in long.items() if lines > LONGEST_MODULE} == {}


def test_the_makefile_documents_every_verb() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    verbs = set(re.findall(r"^([a-z][a-z0-9-]*):", text, re.MULTILINE))
    documented = set(re.findall(r"^([a-z][a-z0-9-]*):.*## ", text, re.MULTILINE))
    assert verbs == documented


def test_documents_link_to_files_that_exist() -> None:
    broken = []
    for page in committed("*.md"):
        prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", prose):
            if not target.startswith(("http://", "https://", "mailto:")) and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def spelt_out(path: str) -> list[str]:
    """`a/{b,c}.py` as two paths."""
    if not (found := re.search(r"\{([^}]*)\}", path)):
        return [path]
    return [path.replace(found[0], choice) for choice in found[1].split(",")]


def named_paths(text: str) -> set[str]:
    """The files and folders of a room that a page names whole, in backticks."""
    rooms = "crds|operator|migrations|services|charts|tests|examples|docs|scripts"
    return {path for name in re.findall(rf"`((?:{rooms})/[\w./{{}},-]+)(?:::\w+)*`", text) for path in spelt_out(name)}


def test_pages_name_files_that_exist() -> None:
    gone = {
        f"{page.relative_to(ROOT)}: {path}"
        for page in committed("*.md")
        for path in named_paths(page.read_text("utf-8"))
        if not (ROOT / path).exists()
    }
    assert gone == set()


def test_a_page_that_names_what_is_gone_is_noticed() -> None:
    text = "`tests/{unit,gone}/`, `operator/gone.py::test_x` and `make test`"
    assert named_paths(text) == {"tests/unit/", "tests/gone/", "operator/gone.py"}


def test_no_file_records_a_package_registry() -> None:
    pattern = re.compile(r"https?://(registry|proxy|files|static|deb|index|repo1?)\.|\.org/simple")
    locks = [*committed("*requirements.lock"), *committed("*.toml"), *committed("*go.mod"), *committed("*Dockerfile")]
    assert [str(path.relative_to(ROOT)) for path in locks if pattern.search(path.read_text("utf-8"))] == []
