"""Text that callers send: what is refused before it is looked at any further."""

import unicodedata
from typing import Annotated

from pydantic import BeforeValidator, EmailStr, StringConstraints, WithJsonSchema

# Cc: control characters, NUL among them (which Postgres cannot store). Cs: half of a surrogate pair. Zl, Zp: line ends.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
# They turn the direction of what follows, so that a reader sees another text than is stored.
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def refuse_control_characters(value: object) -> object:
    """Return `value` as it is. Raises ValueError for a text with a control character."""
    if isinstance(value, str) and any(
        character in _BIDI_CONTROLS or unicodedata.category(character) in _REFUSED_CATEGORIES for character in value
    ):
        raise ValueError("must not contain control characters")
    return value


def _refuse_display_form(value: object) -> object:
    if isinstance(value, str) and "<" in value:
        raise ValueError("must be the address alone, without a name")
    return value


Line = Annotated[str, BeforeValidator(refuse_control_characters), StringConstraints(strict=True)]
"""One line of text without control characters. Bound its length where it is used."""

EmailAddress = Annotated[
    EmailStr,
    BeforeValidator(_refuse_display_form),
    BeforeValidator(refuse_control_characters),
    WithJsonSchema({"type": "string", "format": "email", "minLength": 3, "maxLength": 254}),
]
"""An e-mail address, its syntax checked and its domain normalised."""
