"""One bucket by obstore, which only a pod imports that has one; what fails is told in words that hold no key."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from tenantry_operator.backup.orders import BackupError, BucketOrder

if TYPE_CHECKING:
    # They are there for a type checker alone.
    from obstore.store import ClientConfig, S3Config

MEBIBYTE: Final = 1 << 20
PART: Final = 16 * MEBIBYTE
"""A file that is larger goes in parts, of which few are in memory at once."""
MOST_PARTS: Final = 10_000
AT_ONCE: Final = 3
RANGE: Final = 16 * MEBIBYTE
SAID: Final = 300

CONNECT: Final = timedelta(seconds=10)
REQUEST: Final = timedelta(minutes=5)
RETRIES: Final = 5
RETRIED_FOR: Final = timedelta(minutes=1)

CODES: Final = {
    "NoSuchBucket": "the bucket does not exist",
    "AccessDenied": "access is denied",
    "AllAccessDisabled": "access is denied",
    "InvalidAccessKeyId": "the access key is not known there",
    "SignatureDoesNotMatch": "the secret access key is not that of the access key",
    "AuthorizationHeaderMalformed": "the region is another one",
    "PermanentRedirect": "the bucket is in another region or at another endpoint",
    "RequestTimeTooSkewed": "the clocks of the node and of the store differ",
}
SYMPTOMS: Final = {
    r"InvalidCertificate\(\s*(?:OtherError\(\s*)*(\w+)": (
        "the endpoint's certificate is not trusted ({}): caSecretRef names its authority"
    ),
    "dns error": "the endpoint's name is not known",
    r"kind: (ConnectionRefused|ConnectionReset|TimedOut|HostUnreachable|NetworkUnreachable)": (
        "the endpoint cannot be reached ({})"
    ),
    r"kind: (Connect|Timeout)\b": "the endpoint cannot be reached ({})",
    r"status code: (\d+[\w ]*)": "it answered {}, and not as a store of S3 does",
}
REFUSED: Final = frozenset({"AccessDenied", "AllAccessDisabled", "MethodNotAllowed", "ObjectLocked"})


class BucketRefused(BackupError):
    """The credentials may not do that."""


class Bucket:
    """Objects below a prefix; names are relative to it. Raises BackupError, and FileNotFoundError where it says so."""

    def __init__(self, order: BucketOrder, keys: Path) -> None:
        """`keys` is the folder of the mounted Secret."""
        self._where = f"s3://{order.bucket}" + (f" at {order.endpoint}" if order.endpoint else "")
        try:
            key, secret = ((keys / name).read_text() for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
        except OSError as error:
            raise BackupError(f"the Secret with the keys of {self._where} cannot be read: {error}") from error
        self._hidden = (key, secret)
        authority = keys / "ca.crt"
        client: ClientConfig = {
            "allow_http": (order.endpoint or "").startswith("http://"),
            "connect_timeout": CONNECT,
            "timeout": REQUEST,
        }
        if authority.exists():
            client["root_certificate"] = authority.read_bytes()
        # Amazon wants the bucket in the host's name; most others are reached only without.
        host: S3Config = {"endpoint": order.endpoint} if order.endpoint else {"virtual_hosted_style_request": True}
        with self._told("be reached"):
            self._store = S3Store(
                order.bucket,
                prefix=order.prefix or None,
                region=order.region,
                access_key_id=key,
                secret_access_key=secret,
                client_options=client,
                config=host,
                retry_config={"max_retries": RETRIES, "retry_timeout": RETRIED_FOR},
            )

    def names(self, below: str) -> list[str]:
        """List all objects whose names begin with `below` and a slash."""
        with self._told("be listed"):
            return [str(one["path"]) for chunk in obstore.list(self._store, below) for one in chunk]

    def put(self, name: str, content: bytes) -> None:
        with self._told("be written to"):
            obstore.put(self._store, name, content, use_multipart=False)

    def send(self, name: str, file: Path) -> None:
        """Write a file as one object, which is there whole or not at all."""
        part = max(PART, -(-file.stat().st_size // MOST_PARTS // MEBIBYTE) * MEBIBYTE)
        with self._told("be written to"):
            obstore.put(self._store, name, file, chunk_size=part, max_concurrency=AT_ONCE)

    def get(self, name: str) -> bytes:
        """Return a small object. Raises FileNotFoundError."""
        return b"".join(self.read(name))

    def read(self, name: str) -> Iterator[bytes]:
        """Yield an object in blocks, each by a request of its own. Raises FileNotFoundError."""
        with self._told("be read"):
            size = obstore.head(self._store, name)["size"]
        for start in range(0, size, RANGE):
            with self._told("be read"):
                block = obstore.get_range(self._store, name, start=start, end=min(start + RANGE, size))
            yield bytes(block)

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects; one that is not there is none. Raises BucketRefused."""
        with self._told("have objects removed"):
            for name in names:
                obstore.delete(self._store, name)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise BackupError(f"{self._where} cannot {what}: {CODES['NoSuchBucket']}") from None
            raise FileNotFoundError(f"{self._where} has no such object") from None
        except (BaseError, ValueError) as error:
            text = str(error)
            for one in self._hidden:
                text = text.replace(one, "…")
            code, said = explain(text)
            kind = BucketRefused if code in REFUSED else BackupError
            # The cause would carry what was sent along, into a stack of calls.
            raise kind(f"{self._where} cannot {what}: {said}") from None


def explain(text: str) -> tuple[str, str]:
    """Return the store's code, if it gave one, and what went wrong in few words."""
    code, message = (re.search(f"<{tag}>([^<]*)</{tag}>", text) for tag in ("Code", "Message"))
    if code:
        told = CODES.get(code[1], "it answered")
        return code[1], f"{told} ({code[1]}{': ' + message[1] if message else ''})"[:SAID]
    if "status code: 403" in text:
        # The answer to HEAD has no more.
        return "AccessDenied", CODES["AccessDenied"]
    for pattern, told in SYMPTOMS.items():
        if found := re.search(pattern, text):
            return "", told.format(*found.groups())
    return "", " ".join(text.partition("Debug source")[0].split())[:SAID]
