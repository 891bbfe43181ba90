"""The committed reference is what the code says, and the code keeps the promises of the API's form."""

import io
import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from tenantry_accounts import reference
from tenantry_accounts.app import SERVICE, accounts_app
from tenantry_accounts.errors import ACCOUNTS_PROBLEMS
from tenantry_kit import problems
from tenantry_kit.components import compose
from tenantry_kit.problems import KIT_PROBLEMS, ProblemType
from tenantry_kit.settings import ServiceSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def document():
    settings = ServiceSettings(cursor_key=SecretStr("k" * 32))
    return accounts_app(compose(SERVICE, settings, log_to=io.StringIO())).openapi()


def _operations(document):
    return [
        (f"{method} {path}", operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


def test_the_committed_pages_are_current():
    assert reference.outdated(ROOT) == [], f"run: {reference.CURE}"


def test_a_changed_page_is_noticed_and_written_anew(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert reference.main(["--check"]) == 1
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    page = tmp_path / "docs/reference/problems.md"
    page.write_text(page.read_text() + "edited")
    assert reference.main(["--check"]) == 1
    assert reference.CURE in capsys.readouterr().err


def test_every_operation_is_described_and_answers_errors_with_problems(document):
    for name, operation in _operations(document):
        assert operation["description"], name
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", operation["operationId"]), name
        assert "application/problem+json" in operation["responses"]["default"]["content"], name
        assert operation["security"] == [{"ApiKey": []}], name


def test_fields_are_snake_case_and_bodies_take_no_unknown_field(document):
    for name, schema in document["components"]["schemas"].items():
        assert all(re.fullmatch(r"[a-z][a-z_]*", field) for field in schema.get("properties", {})), name
        if name in {"UserCreate", "UserUpdate"}:
            assert schema["additionalProperties"] is False
    assert set(document["components"]["schemas"]["Page_UserView_"]["required"]) == {"items", "next_cursor"}


def test_every_reference_in_the_document_leads_somewhere(document):
    names = document["components"]["schemas"].keys()
    assert set(re.findall(r"#/components/schemas/([A-Za-z_]+)", repr(document))) <= names


def test_every_problem_type_is_in_the_table_once():
    defined = {value.name for value in vars(problems).values() if isinstance(value, ProblemType)}
    listed = [kind.name for kind in (*KIT_PROBLEMS, *ACCOUNTS_PROBLEMS)]
    assert len(listed) == len(set(listed))
    assert defined <= set(listed)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in listed)
    assert all(kind.retry_after for kind in KIT_PROBLEMS if kind.status == 503)


def test_every_setting_is_described():
    assert [name for name, field in ServiceSettings.model_fields.items() if not field.description] == []
