"""Rooms are used as packages: each can be built and imported alone, and says what it needs."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKSPACE = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
MEMBERS: list[str] = WORKSPACE["tool"]["uv"]["workspace"]["members"]


def project(member: str) -> dict[str, object]:
    found: dict[str, object] = tomllib.loads((ROOT / member / "pyproject.toml").read_text("utf-8"))["project"]
    return found


@pytest.mark.parametrize("member", MEMBERS)
def test_a_room_is_a_typed_package_of_the_one_version(member: str) -> None:
    name = str(project(member)["name"]).replace("-", "_")
    package = Path(str(importlib.import_module(name).__file__)).parent
    assert (package / "py.typed").is_file()
    assert project(member)["version"] == WORKSPACE["project"]["version"]


@pytest.mark.parametrize("member", MEMBERS)
def test_a_room_declares_the_rooms_that_it_imports(member: str) -> None:
    name = str(project(member)["name"]).replace("-", "_")
    imported = {
        found.replace("_", "-")
        for path in (ROOT / member / "src").rglob("*.py")
        for found in re.findall(r"^\s*(?:from|import) (tenantry_\w+)", path.read_text("utf-8"), re.MULTILINE)
    }
    dependencies = project(member)["dependencies"]
    assert isinstance(dependencies, list)
    declared = {re.split(r"[\[<>=! ]", dependency)[0] for dependency in dependencies}
    assert sorted(imported - declared - {name.replace("_", "-")}) == []
