"""What a Postgres server was sent for one Tenant, read from its own log, and the same made ready for another name."""

import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from uuid import uuid4

from psycopg import sql

from tenantry_testing.postgres import PostgresServer

PREFIX = "<<%p|%d|%a>> "
ENTRY = re.compile(r"^<<(?P<session>\d*)\|(?P<database>[^|]*)\|(?P<application>[^>]*)>> (?P<kind>\w+):  (?P<text>.*)$")
STATEMENT = re.compile(r"^(?P<how>statement|execute [^:]*): (?P<sql>.*)$", re.DOTALL)
PARAMETER = re.compile(r"\$\d+ = (?:'(?P<text>(?:[^']|'')*)'|(?P<null>NULL))")
SETTINGS = {"log_statement": "all", "log_line_prefix": PREFIX, "log_parameter_max_length": "-1"}


@dataclass(frozen=True)
class Message:
    """One statement as it came in; `extended` when it came by the extended protocol and so may share a pipeline."""

    session: str
    database: str
    application: str
    statement: str
    parameters: tuple[str | None, ...]
    extended: bool


@contextmanager
def recorded(server: PostgresServer) -> Iterator[Callable[[], tuple[Message, ...]]]:
    """While the body runs the server logs each statement; the value tells what it logged since the body began."""
    _configure(server, SETTINGS)
    offset = server.log_file.stat().st_size
    try:
        yield lambda: parse_log(server.log_file.read_bytes()[offset:].decode())
    finally:
        _configure(server, dict.fromkeys(SETTINGS))


def _configure(server: PostgresServer, settings: dict[str, str] | dict[str, None]) -> None:
    with server.connect() as connection:
        for name, value in settings.items():
            change = sql.SQL("SET {} = {}") if value is not None else sql.SQL("RESET {}")
            parts = [sql.Identifier(name)] + ([sql.Literal(value)] if value is not None else [])
            connection.execute(sql.SQL("ALTER SYSTEM ") + change.format(*parts))
        connection.execute("SELECT pg_reload_conf()")
        # The server takes its settings up in its own time; a session sees them when a statement begins.
        connection.execute("SELECT pg_sleep(0.2)")


def parse_log(text: str) -> tuple[Message, ...]:
    """The statements of a log that was written with `SETTINGS`, oldest first."""
    messages: list[Message] = []
    for entry in _entries(text):
        found = STATEMENT.match(entry["text"])
        if entry["kind"] == "LOG" and found:
            messages.append(_message(entry, how=found["how"], statement=found["sql"]))
        elif entry["kind"] == "DETAIL" and messages and entry["text"].lower().startswith("parameters: "):
            messages[-1] = replace(messages[-1], parameters=_parameters(entry["text"]))
    return tuple(messages)


def _entries(text: str) -> Iterator[dict[str, str]]:
    """Entries with their continuation lines, which start with a tab, put back together."""
    current: dict[str, str] | None = None
    for line in text.splitlines():
        if found := ENTRY.match(line):
            if current:
                yield current
            current = found.groupdict()
        elif current and line.startswith("\t"):
            current["text"] += "\n" + line[1:]
    if current:
        yield current


def _message(entry: dict[str, str], *, how: str, statement: str) -> Message:
    return Message(
        session=entry["session"],
        database=entry["database"],
        application=entry["application"],
        statement=statement,
        parameters=(),
        extended=how != "statement",
    )


def _parameters(text: str) -> tuple[str | None, ...]:
    return tuple(None if found["null"] else found["text"].replace("''", "'") for found in PARAMETER.finditer(text))


# One pattern for both, since the end of a UUID may look like a number.
VALUE = re.compile(r"(?P<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})|(?<![\w.-])-?\d{9,19}(?![\w.-])")


class Renaming:
    """Makes what was recorded for the Tenant `recorded` into what another one, `name`, would send.

    The names are exchanged in both spellings. Of the ids and lock numbers, those in `kept` (the installation's) stay;
    each other gets a value of its own, always the same one within this renaming.
    """

    def __init__(self, recorded: str, name: str, *, kept: frozenset[str] = frozenset()) -> None:
        self._recorded = recorded
        self._name = name
        self._kept = kept
        self._values: dict[str, str] = {}

    def text(self, text: str) -> str:
        text = text.replace(self._recorded, self._name)
        text = text.replace(self._recorded.replace("-", "_"), self._name.replace("-", "_"))
        return VALUE.sub(self._own, text)

    def _own(self, found: re.Match[str]) -> str:
        value = found[0]
        if value in self._kept:
            return value
        fresh = str(uuid4()) if found["id"] else _number_like(value)
        return self._values.setdefault(value, fresh)

    def message(self, message: Message) -> Message:
        parameters = tuple(None if value is None else self.text(value) for value in message.parameters)
        return replace(message, statement=self.text(message.statement), parameters=parameters)


def _number_like(value: str) -> str:
    """Another number that fits where this one fits: an int stays an int."""
    return str(secrets.randbelow(2**31 if abs(int(value)) < 2**31 else 2**62))


def values_of(messages: Sequence[Message]) -> frozenset[str]:
    """The ids and long numbers that messages carry: what two recordings share belongs to no Tenant."""
    texts = [text for message in messages for text in (message.statement, *message.parameters) if text]
    return frozenset(found[0] for text in texts for found in VALUE.finditer(text))


def batches(messages: Sequence[Message]) -> list[dict[str, object]]:
    """The messages as the raw script takes them: neighbours of one session and one protocol share a pipeline."""
    made: list[dict[str, object]] = []
    last: Message | None = None
    for message in messages:
        entry: list[object] = [message.statement, list(message.parameters)]
        if last and message.extended and (last.session, last.extended) == (message.session, True):
            statements = made[-1]["statements"]
            assert isinstance(statements, list)
            statements.append(entry)
        else:
            made.append(_batch(message, entry))
        last = message
    return made


def _batch(message: Message, entry: list[object]) -> dict[str, object]:
    return {
        "database": message.database,
        "session": message.session,
        "pipeline": message.extended,
        "statements": [entry],
    }
