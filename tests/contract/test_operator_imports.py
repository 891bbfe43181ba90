"""What the operator loads stays in its memory for good; what a command loads, people wait for."""

import subprocess
import sys

import pytest

RUNS = """
import tenantry_operator.starting
from tenantry_migrations import DIRECTORY, POOL, REGISTRY, TENANT, make_statements
for history in (DIRECTORY, REGISTRY, TENANT):
    history.steps(None, history.head)
make_statements(POOL.head, roles=dict.fromkeys(("accounts", "owner", "customers"), "r"))
"""
COMMANDS = "import tenantry_operator.cli"
TO_RENDER = {"alembic", "sqlalchemy", "mako"}
FOR_PEOPLE = {"typer", "rich", "pygments", "structlog"}
OF_OTHER_CLIENTS = {"requests", "urllib3", "oauthlib", "websocket", "kubernetes.aio.client.api", "kubernetes.dynamic"}
OF_OTHERS = {"obstore", "fastapi", "starlette", "uvicorn", "jsonschema"}


def loaded(code: str) -> set[str]:
    """Return what is loaded after the code ran in a process of its own."""
    said = f"{code}\nimport sys; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    return set(found.stdout.split())


@pytest.mark.parametrize("code", [RUNS, COMMANDS], ids=["run", "commands"])
def test_what_only_renders_histories_is_not_loaded(code: str) -> None:
    assert loaded(code) & TO_RENDER == set()


def test_an_operator_loads_nothing_that_it_has_no_use_for() -> None:
    assert loaded(RUNS) & (FOR_PEOPLE | OF_OTHER_CLIENTS | OF_OTHERS) == set()


def test_an_operator_is_started_without_the_command_line() -> None:
    """It ends at once, for its settings are wrong."""
    code = "import sys; from tenantry_operator.cli import main; sys.argv[1:] = ['operator', 'run']\ntry: main()"
    said = f"{code}\nfinally: print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", said], capture_output=True, text=True, check=False, env={"TENANTRY_HTTP_PORT": "no"}
    )
    assert found.returncode == 2
    assert "TENANTRY_HTTP_PORT" in found.stderr
    assert set(found.stdout.split()) & FOR_PEOPLE == set()
