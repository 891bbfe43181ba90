"""From a DatabaseServer and its Secrets to what is needed to log in."""

import base64
import binascii
from collections.abc import Callable

from pydantic import ValidationError

from tenantry_crds import DatabaseServer, absent
from tenantry_operator.clients.kube import SECRETS, Kube, RawObject
from tenantry_operator.clients.postgres import DatabaseError, ServerAddress
from tenantry_operator.clients.sqlstate import Failure, FailureKind

Lookup = Callable[[str], RawObject | None]
"""Finds a DatabaseServer by name."""


class ServerUnknown(DatabaseError):
    """There is no DatabaseServer of this name."""


class CredentialsMissing(DatabaseError):
    """The Secret with the log-in or the certificates is absent, or lacks a key."""


class Addresses:
    """Log-ins of database servers, read anew each time: a changed Secret counts at once."""

    def __init__(self, kube: Kube, find: Lookup, *, namespace: str) -> None:
        self._kube = kube
        self._find = find
        self._namespace = namespace

    async def of(self, name: str) -> ServerAddress:
        """Return the log-in of a DatabaseServer. Raises ServerUnknown, CredentialsMissing or ApiError."""
        raw = self._find(name)
        if raw is None:
            message = f"there is no DatabaseServer {name}"
            raise ServerUnknown(Failure(FailureKind.MISSING, "ServerUnknown", message))
        return await self.of_server(raw)

    async def of_server(self, raw: RawObject) -> ServerAddress:
        """Return the log-in of this very object. Raises CredentialsMissing or ApiError."""
        try:
            server = DatabaseServer.model_validate(raw)
        except ValidationError as error:
            message = f"DatabaseServer {raw['metadata']['name']} is not valid: {error.error_count()} errors"
            raise ServerUnknown(Failure(FailureKind.PERMANENT, "ServerUnknown", message)) from error
        spec = server.spec
        secret = spec.credentials_secret_ref.name
        login = await self._secret(secret)
        ca = spec.tls.ca_secret_ref if spec.tls else None
        ca_pem = _value(await self._secret(ca.name), absent.ca_key(spec), secret=ca.name) if ca else None
        return ServerAddress(
            name=raw["metadata"]["name"],
            host=spec.host,
            port=absent.port(spec),
            database=spec.database,
            user=_value(login, "username", secret=secret),
            password=_value(login, "password", secret=secret),
            sslmode=str(absent.tls_mode(spec)),
            ca_pem=ca_pem,
            max_connections=absent.operator_connections(spec),
        )

    async def _secret(self, name: str) -> RawObject:
        secret = await self._kube.get(SECRETS, name, namespace=self._namespace)
        if secret is None:
            raise _missing(f"there is no Secret {name} in namespace {self._namespace}")
        return secret


def _value(data: RawObject, key: str, *, secret: str) -> str:
    encoded = (data.get("data") or {}).get(key)
    if not encoded:
        raise _missing(f"Secret {secret} has no key {key}")
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise _missing(f"key {key} of Secret {secret} is not text") from error


def _missing(message: str) -> CredentialsMissing:
    return CredentialsMissing(Failure(FailureKind.MISSING, "CredentialsMissing", message))
