"""What holds for any input: of keys, cursors, log lines, bodies and the ids of callers."""

import io
import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry_kit.bodies import depth_exceeds
from tenantry_kit.correlation import correlate, trace_id_of
from tenantry_kit.keys import MalformedKey, create_key, parse_key
from tenantry_kit.logs import Threshold, make_logger
from tenantry_kit.pagination import Cursors
from tenantry_kit.problems import INVALID_CURSOR, Problem

CURSORS = Cursors(lambda: "k" * 32)


@given(st.from_regex(r"\A[a-z]{2,8}\Z"), st.randoms(use_true_random=False))
def test_a_key_parses_to_itself(environment, random):
    key = create_key(environment, random.randrange)
    assert parse_key(key.text) == key


@given(st.text())
def test_a_text_is_no_key_unless_it_is_one(text):
    with pytest.raises(MalformedKey):
        parse_key(text)


@given(st.uuids(), st.uuids(), st.text(max_size=20))
def test_a_cursor_reads_back(position, tenant_id, list_name):
    cursor = CURSORS.sign(position, list_name, tenant_id=tenant_id)
    assert CURSORS.read(cursor, list_name, tenant_id=tenant_id) == position


@given(st.one_of(st.text(), st.from_regex(r"\A[A-Za-z0-9_-]{44}\Z")))
def test_what_we_did_not_sign_is_no_cursor(text):
    with pytest.raises(Problem) as refused:
        CURSORS.read(text, "users", tenant_id=UUID(int=7))
    assert refused.value.type is INVALID_CURSOR


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=30,
)


def _depth(value):
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


@given(JSON, st.integers(0, 6), st.booleans())
def test_depth_is_that_of_the_parsed_text(value, limit, ascii_only):
    body = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert depth_exceeds(body, limit) is (_depth(value) > limit)


@given(st.binary(max_size=2000), st.integers(1, 5))
def test_depth_is_judged_for_any_bytes(body, limit):
    depth_exceeds(body, limit)


@given(st.text(), st.text(), st.sampled_from(["json", "pretty"]))
def test_a_key_is_cut_out_of_any_line(before, after, format_):
    key = create_key("live")
    # A key that is glued to a letter or digit is none that a scanner could find either.
    text = f"{before} {key.text} {after}"
    stream = io.StringIO()
    logger = make_logger(stream, format_, threshold=Threshold("info"), service="test")
    logger.info("event", note=text, nested={"list": [text]})
    assert key.secret not in stream.getvalue()
    if format_ == "json":
        assert json.loads(stream.getvalue())["event"] == "event"
        assert stream.getvalue().count("\n") == 1


@given(st.text())
def test_ids_are_well_formed_whatever_is_sent(text):
    ids = correlate({"x-request-id": text, "x-session-id": text, "traceparent": text})
    assert ids.request_id.isascii()
    assert 0 < len(ids.request_id) <= 64
    assert ids.trace_id != "0" * 32
    assert trace_id_of(text) in {None, ids.trace_id}
