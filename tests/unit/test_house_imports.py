"""Rooms keep to themselves: the import contracts of pyproject.toml hold, and notice when they do not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def lint(packages: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Check the contracts; packages in the folder `packages` come before those that are installed."""
    program = Path(sys.executable).with_name("lint-imports")
    environment = os.environ | ({"PYTHONPATH": str(packages)} if packages else {})
    return subprocess.run(
        [str(program), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, env=environment
    )


def test_the_contracts_of_this_project_hold() -> None:
    done = lint()
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("package", "module", "statement", "contract"),
    [
        ("services/accounts/src/tenantry_accounts", "service.py", "import tenantry_operator", "services know neither"),
        ("services/kit/src/tenantry_kit", "keys.py", "import tenantry_accounts", "rooms are siblings"),
        ("operator/src/tenantry_operator", "plan/tenant.py", "import psycopg", "plan and model decide and hold"),
    ],
)
def test_a_room_that_imports_what_it_may_not_is_noticed(
    tmp_path: Path, package: str, module: str, statement: str, contract: str
) -> None:
    copy = tmp_path / Path(package).name
    shutil.copytree(ROOT / package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    changed = copy / module
    changed.write_text(f"{changed.read_text('utf-8')}\n{statement}\n", "utf-8")
    done = lint(tmp_path)
    assert done.returncode != 0
    assert any(line.startswith(contract) and " BROKEN" in line for line in done.stdout.splitlines()), done.stdout
