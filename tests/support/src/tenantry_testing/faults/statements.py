"""Which SQL has side effects, told from its text.

An effect is what another session could see later: DDL, DML, GRANT, COMMENT, DO, CALL, COPY, and a SELECT that calls a
function of `ACTING`. Reading is none, nor is a DO in a transaction that may only read, nor what dies with the session:
BEGIN, SET, LOCK, advisory locks, LISTEN.
COMMIT is one when its transaction had an effect: it is where the effects begin to last. When in doubt, it is one.
"""

import re
from typing import Final

HARMLESS: Final = frozenset(
    """
    SELECT WITH VALUES TABLE SHOW EXPLAIN BEGIN START SET RESET ROLLBACK ABORT SAVEPOINT RELEASE DISCARD PREPARE
    EXECUTE DEALLOCATE LISTEN UNLISTEN DECLARE FETCH MOVE CLOSE LOCK
    """.split()  # noqa: SIM905  a list of so many words is read more easily as text
)
ENDINGS: Final = frozenset({"COMMIT", "END"})
ABANDONS: Final = frozenset({"ROLLBACK", "ABORT"})
ACTING: Final = re.compile(
    r"\b(pg_terminate_backend|pg_cancel_backend|pg_notify|nextval|setval|pg_reload_conf|lo_unlink|lo_creat\w*"
    r"|lo_put|lo_from_bytea|lo_import|lowrite|dblink\w*)\s*\(",
    re.IGNORECASE,
)
CHANGING: Final = re.compile(r"\b(INSERT\s+INTO|(?<!FOR )(?<!KEY )UPDATE|DELETE\s+FROM|MERGE\s+INTO)\b", re.IGNORECASE)
LABEL_WORDS: Final = 7

# What may hold a semicolon, or a secret: strings, dollar quotes and comments. Quoted names are kept, for the label.
_OPAQUE: Final = re.compile(
    r"(?P<name>\"(?:[^\"]|\"\")*\")|[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/"
    r"|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$",
    re.DOTALL,
)


def split(text: str) -> list[str]:
    """Return the statements of a query string, without comments, each string literal as ``?``."""
    masked = _OPAQUE.sub(_mask, text)
    return [one for one in (" ".join(part.split()) for part in masked.split(";")) if one]


def _mask(found: re.Match[str]) -> str:
    if found["name"]:
        return found["name"].replace(";", ",")
    return " " if found[0].startswith(("--", "/*")) else "?"


def verb(statement: str) -> str:
    words = re.match(r"\W*(\w+)", statement)
    return words[1].upper() if words else ""


def is_effect(statement: str) -> bool:
    """Say whether a statement of `split` has a side effect; COMMIT is the caller's to judge."""
    word = verb(statement)
    if word in ENDINGS:
        return False
    if word not in HARMLESS:
        return True
    if ACTING.search(statement):
        return True
    return word == "WITH" and CHANGING.search(statement) is not None


def label_of(statements: list[str]) -> str:
    """Return the first words of the first effect, and how many more there are. No values, so no secrets."""
    effects = [one for one in statements if is_effect(one)] or statements
    words = effects[0].split()
    text = " ".join(words[:LABEL_WORDS]) + (" …" if len(words) > LABEL_WORDS else "")
    more = f" (+{len(effects) - 1})" if len(effects) > 1 else ""
    return f"SQL {text}{more}"


class Judge:
    """Judges the batches of one session, in order; it remembers whether the open transaction had an effect."""

    def __init__(self) -> None:
        self._dirty = False
        self._reads_only = False

    def effect(self, queries: list[str]) -> str | None:
        """Return the label when the batch has a side effect."""
        statements = [statement for query in queries for statement in split(query)]
        found = False
        for statement in statements:
            word = verb(statement)
            if word in {"BEGIN", "START", *ENDINGS} or (word in ABANDONS and " TO " not in statement.upper()):
                self._reads_only = "READ ONLY" in statement.upper()
            if word == "DO" and self._reads_only:
                continue
            if is_effect(statement):
                found = self._dirty = True
            elif word in ENDINGS:
                found, self._dirty = found or self._dirty, False
            elif (word in ABANDONS and " TO " not in statement.upper()) or word in {"BEGIN", "START"}:
                self._dirty = False
        return label_of(statements) if found else None
