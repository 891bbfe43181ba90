"""The demo's record and its callers, without a cluster."""

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tenantry_cluster import Layout
from tenantry_testing.demo.callers import AccountsCaller, RestFailed
from tenantry_testing.demo.closing import shell_lines
from tenantry_testing.demo.conditions import describe_conditions
from tenantry_testing.demo.facts import registry_url
from tenantry_testing.demo.programs import Programs
from tenantry_testing.demo.record import DemoRecord, NoDemo, SampleTenant, read_record, record_path, write_record

RECORD = DemoRecord("config", "http://gateway", "postgresql://db", (SampleTenant("acme", "tk_dev_x"),))
USER = {"email": "ada@acme.example", "display_name": "Ada"}
PROBLEM = {"content-type": "application/problem+json"}

Answer = Callable[[httpx.Request], httpx.Response]


def layout_in(folder: Path) -> Layout:
    layout = Layout(folder)
    layout.state.mkdir()
    return layout


def test_a_record_is_read_as_it_was_written_by_its_owner_alone(tmp_path: Path) -> None:
    layout = layout_in(tmp_path)
    write_record(layout, RECORD)
    assert read_record(layout) == RECORD
    assert read_record(layout).key_of("acme") == "tk_dev_x"
    assert read_record(layout).key_of("globex") is None
    assert stat.S_IMODE(record_path(layout).stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [None, "", "{", '{"tenants": [{}]}', "[]"])
def test_what_is_no_record_says_how_to_make_one(tmp_path: Path, content: str | None) -> None:
    layout = layout_in(tmp_path)
    if content is not None:
        record_path(layout).write_text(content)
    with pytest.raises(NoDemo) as caught:
        read_record(layout)
    assert caught.value.cure == "make demo"


def caller(answer: Answer, *, patience: float = 30.0) -> AccountsCaller:
    return AccountsCaller("http://gateway", "tk_dev_x", transport=httpx.MockTransport(answer), patience=patience)


def test_an_answer_of_the_gateway_itself_is_waited_out() -> None:
    answers = iter([httpx.Response(404), httpx.Response(503), httpx.Response(201, json={"id": "1"})])
    assert caller(lambda _: next(answers)).ensure_user(USER) == {"id": "1"}


def test_a_service_that_never_answers_is_told() -> None:
    with pytest.raises(RestFailed, match="answered 503"):
        caller(lambda _: httpx.Response(503), patience=0.5).ensure_user(USER)


def test_a_refusal_of_the_service_is_told_at_once() -> None:
    with pytest.raises(RestFailed, match="answered 404"):
        caller(lambda _: httpx.Response(404, headers=PROBLEM, json={"title": "no tenant"})).ensure_user(USER)


def test_a_user_that_exists_is_found_on_any_page() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(409, headers=PROBLEM)
        if "cursor" in request.url.params:
            return httpx.Response(200, json={"items": [{"email": "Ada@acme.example"}], "next_cursor": None})
        return httpx.Response(200, json={"items": [{"email": "other@acme.example"}], "next_cursor": "c"})

    assert caller(answer).ensure_user(USER) == {"email": "Ada@acme.example"}


def test_a_shell_takes_what_the_demo_prints() -> None:
    odd = DemoRecord(
        "a 'b'", "http://gateway", "postgresql://u:p@h:5/app?a=b&c=$d", (SampleTenant("acme", "tk_dev_x"),)
    )
    lines = shell_lines(Programs(Path("config"), Path("/our bin")), odd)
    said = subprocess.run(
        ["bash", "-c", f'{lines}\necho "$KUBECONFIG"; echo "$GATEWAY $KEY $TENANTRY_REGISTRY_URL"; echo "$PATH"'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert said[:2] == ["a 'b'", "http://gateway tk_dev_x postgresql://u:p@h:5/tenantry?a=b&c=$d"]
    assert said[2].startswith("/our bin:")
    assert said[2].endswith(os.environ["PATH"])


def test_the_registry_is_at_the_same_address() -> None:
    assert registry_url("postgresql://a:b@c:5/app?sslmode=require") == "postgresql://a:b@c:5/tenantry?sslmode=require"


def test_conditions_are_told_in_one_line() -> None:
    condition = {"type": "Ready", "status": "False", "reason": "NotOurs", "message": "somebody else's"}
    assert describe_conditions({"status": {"conditions": [condition]}}) == "Ready=False (NotOurs: somebody else's)"
    assert "operator" in describe_conditions({})
