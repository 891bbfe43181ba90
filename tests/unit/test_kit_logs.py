import io
import json
import logging

import pytest

from tenantry_kit.correlation import Correlation, correlate, correlating, trace_id_of
from tenantry_kit.keys import create_key
from tenantry_kit.logs import REDACTED, StandardLibraryLines, Threshold, make_logger

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def _logger(format_="json", level="info"):
    stream, threshold = io.StringIO(), Threshold(level)
    return make_logger(stream, format_, threshold=threshold, service="test"), stream, threshold


def _one(stream):
    (line,) = stream.getvalue().splitlines()
    return json.loads(line)


def test_a_line_is_one_json_object_with_the_ids_of_the_request():
    logger, stream, _ = _logger()
    with correlating(Correlation("r", "t", "s", session_id="key-x", tenant="acme", principal="p")):
        logger.info("hello", number=1)
    line = _one(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "hello", "level": "info", "service": "test", "number": 1, "request_id": "r", "trace_id": "t",
        "span_id": "s", "session_id": "key-x", "tenant": "acme", "principal": "p",
    }  # fmt: skip


def test_outside_of_a_request_the_ids_are_null():
    logger, stream, _ = _logger()
    logger.info("hello")
    assert _one(stream)["request_id"] is None
    assert _one(stream)["session_id"] is None


def test_a_pretty_line_is_for_people():
    logger, stream, _ = _logger("pretty")
    logger.warning("hello", path="/v1/users\nforged line")
    text = stream.getvalue()
    assert "hello" in text
    assert "warning" in text
    assert len(text.splitlines()) == 1, "what a caller sends starts no line of its own"
    assert "None" not in text, "what is not known is left out"


def test_the_level_can_be_changed_while_it_runs():
    logger, stream, threshold = _logger()
    logger.debug("one")
    threshold.level = "debug"
    logger.debug("two")
    threshold.level = "error"
    logger.warning("three")
    logger.error("four")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["two", "four"]


KEY = create_key("live").text


@pytest.mark.parametrize(
    ("fields", "secret"),
    [
        ({"note": f"key {KEY} failed"}, KEY),
        ({"headers": {"Authorization": f"Bearer {KEY}"}}, KEY),
        ({"note": "Authorization: Bearer abcdefgh.12345678"}, "abcdefgh.12345678"),
        ({"password": "hunter22"}, "hunter22"),
        ({"nested": [{"client_secret": "hunter22"}]}, "hunter22"),
        ({"dsn": "postgresql://svc:hunter22@db:5432/app"}, "hunter22"),
        ({"note": "host=db password=hunter22 user=svc"}, "hunter22"),
        ({"note": "password='hunter 22'"}, "hunter 22"),
        ({"note": ValueError(KEY)}, KEY),
        ({"note": "ERROR: null value\nDETAIL:  Failing row contains (ada@example.com)."}, "ada@example.com"),
    ],
)
def test_no_secret_is_written(fields, secret):
    for format_ in ("json", "pretty"):
        logger, stream, _ = _logger(format_)
        logger.info("hello", **fields)
        assert secret not in stream.getvalue()
        assert REDACTED in stream.getvalue()


def test_no_secret_is_written_in_a_traceback():
    logger, stream, _ = _logger()
    try:
        raise ValueError(f"bad key {KEY}")
    except ValueError:
        logger.exception("failed")
    assert "ValueError" in stream.getvalue()
    assert KEY not in stream.getvalue()


def test_the_lines_of_libraries_become_ours():
    logger, stream, _ = _logger()
    library = logging.Logger("uvicorn.error")
    library.addHandler(StandardLibraryLines(logger))
    library.info("Started with %s", KEY)
    library.log(5, "noise")
    line = _one(stream)
    assert (line["level"], line["logger"]) == ("info", "uvicorn.error")
    assert KEY not in line["event"]


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
        (f"cc-{TRACE}-00f067aa0ba902b7-01-more", TRACE),
        (f"00-{TRACE}-00f067aa0ba902b7-01-more", None),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", None),
        ("nonsense", None),
        ("", None),
        (None, None),
    ],
)
def test_a_traceparent_is_read_as_w3c_says(header, found):
    assert trace_id_of(header) == found


def test_ids_of_the_caller_are_kept_when_they_are_well_formed():
    ids = correlate({"x-request-id": "abc-1", "x-session-id": "s.1", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
    assert (ids.request_id, ids.session_id, ids.trace_id) == ("abc-1", "s.1", TRACE)


@pytest.mark.parametrize("sent", ["", "a b", "a\nb", "x" * 65, "é", KEY.replace("_", "/")])
def test_ids_of_the_caller_that_are_not_well_formed_are_made_anew(sent):
    ids = correlate({"x-request-id": sent, "x-session-id": sent, "traceparent": sent})
    assert len(ids.request_id) == len(ids.trace_id) == 32
    assert ids.session_id is None
    assert sent not in {ids.request_id, ids.trace_id}
