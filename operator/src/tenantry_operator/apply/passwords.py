"""Passwords, and what Postgres stores of them."""

import asyncio
import base64
import hashlib
import hmac
import secrets
from typing import Final

SCRAM_ITERATIONS: Final = 4096
"""What Postgres itself uses. The passwords have 256 bits, so more work would guard nothing."""


def new_password() -> str:
    """Return 43 characters that need no quoting anywhere."""
    return secrets.token_urlsafe(32)


async def scram_verifier(password: str) -> str:
    """Return the SCRAM-SHA-256 verifier (RFC 5803) of a password of printable ASCII; computed in a thread."""
    return await asyncio.to_thread(_verifier, password, salt=secrets.token_bytes(16))


def _verifier(password: str, *, salt: bytes) -> str:
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, SCRAM_ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    parts = (base64.b64encode(part).decode() for part in (salt, stored_key, server_key))
    encoded_salt, encoded_stored, encoded_server = parts
    return f"SCRAM-SHA-256${SCRAM_ITERATIONS}:{encoded_salt}${encoded_stored}:{encoded_server}"
