"""Bodies, texts, settings and mounted files: what is refused, and what is read again."""

import time

import pytest
from pydantic import TypeAdapter, ValidationError

from tenantry_kit.bodies import BodyLimits, depth_exceeds
from tenantry_kit.databases import LoginMissing, read_login
from tenantry_kit.mounted import MountedDirectory, MountedText, fingerprint, read_directory
from tenantry_kit.settings import ServiceSettings
from tenantry_kit.text import EmailAddress, Line

GOOD = {"host": "db", "port": "5432\n", "username": "svc", "password": " p ", "database": "app"}


@pytest.mark.parametrize(
    ("body", "too_deep"),
    [
        (b"", False),
        (b"[[[]]]", False),
        (b"[[[[]]]]", True),
        (b'{"a":{"b":[{}]}}', True),
        (b'["[[[[[[", "{{{{{{"]', False),
        (b'["\\"[[[[[[", 1]', False),
        (b'["\\\\", [[[[]]]]]', True),
        (b"[][][][][][]", False),
    ],
)
def test_depth_counts_brackets_outside_of_texts(body, too_deep):
    assert depth_exceeds(body, 3) is too_deep


async def test_a_body_whose_sender_went_away_is_not_acted_on():
    messages = iter([{"type": "http.request", "body": b"{}", "more_body": True}, {"type": "http.disconnect"}])
    called = []

    async def app(*_):
        called.append("app")

    async def receive():
        return next(messages)

    async def send(message):
        called.append(message)

    scope = {"type": "http", "headers": []}
    await BodyLimits(app, max_bytes=100, max_depth=3)(scope, receive, send)
    assert called == []


@pytest.mark.parametrize("text", [b'"' + b'\\"' * 32_000, b"\\" * 65_000, b'"\\' * 32_000, b'"' * 65_000])
def test_depth_is_found_in_linear_time(text):
    """A quadratic search would take minutes."""
    started = time.process_time()
    depth_exceeds(b"[" * 33 + text, 32)
    depth_exceeds(text + b"[" * 33, 32)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("text", ["a\x00", "\x1b[31m", "a\nb", "a\x7f", "a\x85", "a\u2028b", "\ud800", "\u202eb", "\t"])
def test_a_line_holds_no_control_characters(text):
    with pytest.raises(ValidationError):
        TypeAdapter(Line).validate_python(text)


@pytest.mark.parametrize("text", ["Ada", "Zoë Ångström", "李小龍", "👩‍🚀", "<script>", "'; DROP TABLE users; --"])
def test_a_line_holds_what_people_write(text):
    assert TypeAdapter(Line).validate_python(text) == text


@pytest.mark.parametrize(
    "text", ["Ada <ada@example.com>", "ada", "@example.com", "ada@example.com\n", "a b@example.com"]
)
def test_an_address_is_an_address_alone(text):
    with pytest.raises(ValidationError):
        TypeAdapter(EmailAddress).validate_python(text)


def test_settings_need_a_cursor_key_long_enough(monkeypatch):
    for name in ("TENANTRY_CURSOR_KEY", "TENANTRY_CURSOR_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValidationError, match="TENANTRY_CURSOR_KEY_FILE"):
        ServiceSettings()
    monkeypatch.setenv("TENANTRY_CURSOR_KEY", "short")
    with pytest.raises(ValidationError, match="32"):
        ServiceSettings()
    monkeypatch.setenv("TENANTRY_CURSOR_KEY", "k" * 32)
    assert "k" * 32 not in repr(ServiceSettings())


def test_a_login_is_read_from_its_files(tmp_path):
    login = read_login(tmp_path / "primary", GOOD)
    assert (login.server, login.port, login.password, login.sslmode) == ("primary", 5432, " p ", "verify-full")
    assert login.ca_file is None
    assert "' p '" not in repr(login)


@pytest.mark.parametrize("changed", [{"host": ""}, {"password": ""}, {"port": "many"}])
def test_a_login_that_is_not_complete_is_missing(tmp_path, changed):
    with pytest.raises(LoginMissing, match="primary"):
        read_login(tmp_path / "primary", GOOD | changed)


def test_a_mounted_directory_is_read_again_after_a_second(tmp_path):
    clock = [0.0]
    mounted = MountedDirectory(tmp_path / "secret", lambda: clock[0])
    assert mounted.read() == {}
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "..data").mkdir()
    (tmp_path / "secret" / "host").write_text("db")
    assert mounted.read() == {}
    clock[0] = 1.0
    assert mounted.read() == {"host": "db"}
    (tmp_path / "secret" / "host").write_text("db2")
    assert mounted.read(now=True) == {"host": "db2"}
    assert fingerprint(read_directory(tmp_path / "secret")) != fingerprint({"host": "db"})


def test_a_mounted_text_survives_the_instant_without_a_file(tmp_path):
    clock = [0.0]
    text = MountedText(tmp_path / "key", lambda: clock[0])
    with pytest.raises(FileNotFoundError):
        text()
    (tmp_path / "key").write_text("one\n")
    assert text() == "one"
    (tmp_path / "key").unlink()
    clock[0] = 2.0
    assert text() == "one"
    (tmp_path / "key").write_text("two")
    clock[0] = 4.0
    assert text() == "two"
