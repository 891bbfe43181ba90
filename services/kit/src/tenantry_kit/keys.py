"""The format of API keys: `tk_<environment>_<public id><secret><checksum>`.

The public id finds the key's row, only the SHA-256 of the secret is stored, and the checksum (CRC32 of everything
before it, in base62) lets a scanner or a client refuse a mistyped key without asking the database. The prefix and
the length are fixed, so that secret scanners recognise a leaked key. Standard library only: the operator's command
line makes keys without the rest of the kit.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
PUBLIC_ID_LENGTH = 16
SECRET_LENGTH = 43  # 43 characters of base62 hold 256 bits
CHECKSUM_LENGTH = 6  # 62**6 > 2**32
ENVIRONMENT_PATTERN = r"[a-z]{2,8}"

EVERY_SCOPE = "*"
"""The scope of a key that may do everything within its tenant. A key without scopes may do nothing."""

SCOPES = ("users:read", "users:write")
"""What a key can be allowed to do, one by one. A route that asks for another scope is refused when it is made."""

_ENVIRONMENT = re.compile(ENVIRONMENT_PATTERN)
_KEY = re.compile(
    rf"tk_(?P<environment>{ENVIRONMENT_PATTERN})_(?P<public_id>[0-9A-Za-z]{{{PUBLIC_ID_LENGTH}}})"
    rf"(?P<secret>[0-9A-Za-z]{{{SECRET_LENGTH}}})(?P<checksum>[0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
)


class MalformedKey(ValueError):
    """The text is no API key. The message never repeats the text."""


@dataclass(frozen=True)
class ApiKey:
    """One API key in the clear, shown once to whoever made it. `secret` stays out of `repr`."""

    environment: str
    public_id: str
    secret: str = field(repr=False)

    @property
    def text(self) -> str:
        """The key as it is sent in `Authorization: Bearer …`."""
        return _with_checksum(f"tk_{self.environment}_{self.public_id}{self.secret}")

    @property
    def secret_hash(self) -> bytes:
        """What is stored: 32 bytes."""
        return hash_secret(self.secret)


def create_key(environment: str, random_below: Callable[[int], int] = secrets.randbelow) -> ApiKey:
    """Return a new key for an environment of 2 to 8 letters a-z.

    Raises MalformedKey for any other environment.
    """
    if not _ENVIRONMENT.fullmatch(environment):
        raise MalformedKey("the environment of a key is 2 to 8 letters a-z")
    characters = "".join(ALPHABET[random_below(62)] for _ in range(PUBLIC_ID_LENGTH + SECRET_LENGTH))
    return ApiKey(environment, characters[:PUBLIC_ID_LENGTH], characters[PUBLIC_ID_LENGTH:])


def parse_key(text: str) -> ApiKey:
    """Return the key that `text` is. Raises MalformedKey when the form or the checksum is wrong."""
    match = _KEY.fullmatch(text)
    if match is None or _with_checksum(text[:-CHECKSUM_LENGTH]) != text:
        raise MalformedKey("this is not an API key")
    return ApiKey(match["environment"], match["public_id"], match["secret"])


def hash_secret(secret: str) -> bytes:
    """Return the SHA-256 of a secret. It holds 256 random bits, so no slow hash is needed."""
    return hashlib.sha256(secret.encode("ascii")).digest()


def secret_matches(secret: str, secret_hash: bytes) -> bool:
    """Say, in constant time, whether a secret belongs to a stored hash."""
    return hmac.compare_digest(hash_secret(secret), secret_hash)


def _with_checksum(body: str) -> str:
    number = zlib.crc32(body.encode("ascii"))
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        number, remainder = divmod(number, 62)
        digits.append(ALPHABET[remainder])
    return body + "".join(reversed(digits))
