"""The settings of a service: environment variables with the prefix TENANTRY_, read once at the composition root."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from tenantry_kit.keys import ENVIRONMENT_PATTERN

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["json", "pretty"]


class ServiceSettings(BaseSettings):
    """What every service is told from outside. Each field is an environment variable `TENANTRY_<FIELD>`."""

    model_config = SettingsConfigDict(
        env_prefix="TENANTRY_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    environment: str = Field(default="dev", pattern=rf"^{ENVIRONMENT_PATTERN}$")
    """Whose keys are accepted: a key names its environment, and one of another is refused."""

    databases_dir: Path = Path("/etc/tenantry/databases")
    """Where the Secrets of the service logins are mounted, one directory for each DatabaseServer."""

    registry_server: str = "primary"
    """The DatabaseServer that holds the registry."""

    cursor_key: SecretStr | None = Field(default=None, min_length=32)
    """Signs page cursors; at least 32 characters, the same on every replica."""

    cursor_key_file: Path | None = None
    """A file with that key, read again when it changes. It wins over `cursor_key`."""

    host: str = "0.0.0.0"  # noqa: S104  # a pod is reached by its own address
    """The address to listen on."""

    port: int = Field(default=8000, ge=0, le=65535)
    """The port to listen on."""

    log_level: LogLevel = "info"
    """Lines below it are not written: `debug`, `info`, `warning` or `error`. SIGUSR1 sets `debug`, SIGUSR2 this."""

    log_format: LogFormat = "json"
    """`json` for machines, `pretty` for people."""

    body_limit: int = Field(default=65_536, ge=1_024)
    """Bytes of a request's body."""

    body_depth_limit: int = Field(default=32, ge=1, le=500)
    """Levels of nested arrays and objects in a request's body."""

    pool_size: int = Field(default=10, ge=1, le=200)
    """Connections kept to each database."""

    own_databases: int = Field(default=16, ge=1, le=200)
    """Databases that are one tenant's alone to which connections are kept at once, two each; the one that was used
    least recently makes room for the next."""

    pool_timeout: float = Field(default=5.0, gt=0)
    """Seconds that a request waits for a connection before it is answered 503."""

    connect_timeout: int = Field(default=5, ge=2)
    """Seconds to reach a database. libpq knows no shorter time than 2."""

    statement_timeout: int = Field(default=10_000, ge=100)
    """Milliseconds after which Postgres ends a statement of a request."""

    shutdown_timeout: int = Field(default=20, ge=1)
    """Seconds that requests in flight get to finish after SIGTERM."""

    @model_validator(mode="after")
    def _has_a_cursor_key(self) -> Self:
        if self.cursor_key is None and self.cursor_key_file is None:
            raise ValueError("set TENANTRY_CURSOR_KEY_FILE, or TENANTRY_CURSOR_KEY")
        return self


def settings_page(settings: type[ServiceSettings]) -> str:
    """Return the reference page of the settings in Markdown."""
    rows = [_row(name, field) for name, field in settings.model_fields.items()]
    return "\n".join([_PAGE_HEAD, *rows, ""])


def _row(name: str, field: FieldInfo) -> str:
    default = "" if field.default is None else f"`{field.default}`"
    return f"| `TENANTRY_{name.upper()}` | {default} | {' '.join((field.description or '').split())} |"


_PAGE_HEAD = """\
# Settings of a service

Environment variables of `python -m tenantry_accounts`. The chart sets what it must; the rest goes into
`services.<name>.env`.

<!-- Generated from the code: python -m tenantry_accounts.reference -->

| variable | default | means |
|---|---|---|"""
