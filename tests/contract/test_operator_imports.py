"""What the operator loads stays in its memory for good; what a command loads, people wait for."""

import subprocess
import sys

import pytest

RUNS = """
import tenantry_operator.process
from tenantry_migrations import DIRECTORY, POOL, REGISTRY, TENANT, make_statements
for history in (DIRECTORY, REGISTRY, TENANT):
    history.steps(None, history.head)
make_statements(POOL.head, roles=dict.fromkeys(("accounts", "owner", "customers"), "r"))
"""
COMMANDS = "import tenantry_operator.cli"
TO_RENDER = {"alembic", "sqlalchemy", "mako"}


def loaded(code: str) -> set[str]:
    """Return what is loaded after the code ran in a process of its own."""
    said = f"{code}\nimport sys; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    return set(found.stdout.split())


@pytest.mark.parametrize("code", [RUNS, COMMANDS], ids=["run", "commands"])
def test_what_only_renders_histories_is_not_loaded(code: str) -> None:
    assert loaded(code) & TO_RENDER == set()
