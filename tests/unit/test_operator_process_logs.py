"""The operator's log: JSON or for people, and never a secret in it."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tenantry_kit.keys import create_key
from tenantry_operator.logs import REDACTED, configure_logging, redact
from tenantry_operator.settings import LogFormat, LogLevel

SECRET = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)


def logged(*args: Any, log_format: LogFormat = LogFormat.JSON, **extra: Any) -> str:
    stream = io.StringIO()
    configure_logging(LogLevel.INFO, log_format, stream=stream)
    logging.getLogger("tenantry_operator.test").info(*args, extra=extra)
    return stream.getvalue()


def test_a_line_is_json_with_time_level_logger_and_fields() -> None:
    line = json.loads(logged("pass %s", "ended", object="Tenant/acme"))
    assert line.pop("time").endswith("Z")
    assert line == {
        "event": "pass ended",
        "level": "info",
        "logger": "tenantry_operator.test",
        "object": "Tenant/acme",
    }


def test_a_line_for_people_says_the_same() -> None:
    line = logged("pass ended", log_format=LogFormat.PRETTY, object="Tenant/acme")
    assert "pass ended" in line
    assert "object=Tenant/acme" in line
    assert not line.startswith("{")


def test_what_is_below_the_level_is_not_written() -> None:
    stream = io.StringIO()
    configure_logging(LogLevel.WARNING, LogFormat.JSON, stream=stream)
    logging.getLogger("tenantry_operator.test").info("no")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("log_format", LogFormat)
@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://operator:{SECRET}@db:5432/app",
        f"host=db password={SECRET} user=a",
        f"host=db password='{SECRET}' user=a",
        f"Authorization: Bearer {SECRET}",
        f"SCRAM-SHA-256$4096:{SECRET}",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----",
    ],
)
def test_a_secret_in_a_text_is_taken_out(text: str, log_format: LogFormat) -> None:
    line = logged("failed: %s", text, log_format=log_format, error=text)
    assert SECRET not in line
    assert REDACTED in line


def test_an_api_key_in_a_text_is_taken_out() -> None:
    key = create_key("live").text
    assert key not in logged("made %s", key)


@pytest.mark.parametrize("name", ["password", "admin_password", "token", "authorization", "api_key", "apiKey"])
def test_a_field_that_is_named_like_a_secret_is_taken_out(name: str) -> None:
    event = redact({"event": "x", name: SECRET, "nested": {name: SECRET, "kept": "yes"}})
    assert event == {"event": "x", name: REDACTED, "nested": {name: REDACTED, "kept": "yes"}}


def test_a_count_under_such_a_name_is_kept() -> None:
    assert json.loads(logged("reconciled", actions={"SetPassword": 1}))["actions"] == {"SetPassword": 1}


def test_a_secret_in_a_traceback_is_taken_out() -> None:
    stream = io.StringIO()
    configure_logging(LogLevel.INFO, LogFormat.JSON, stream=stream)
    try:
        raise RuntimeError(f"postgresql://a:{SECRET}@db/app")
    except RuntimeError:
        logging.getLogger("tenantry_operator.test").exception("failed")
    assert "RuntimeError" in stream.getvalue()
    assert SECRET not in stream.getvalue()
