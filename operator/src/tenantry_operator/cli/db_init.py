"""``tenantry db init``."""

import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import yaml

from tenantry_crds import names
from tenantry_operator.cli.db_access import Connection, is_let_in, session
from tenantry_operator.cli.db_preparation import (
    OPERATOR_ROLE,
    REGISTRY_DATABASE,
    TENANTS_DATABASE,
    Standing,
    Step,
    Wanted,
    do,
    look,
    refuse,
    steps,
    verifier_of,
)
from tenantry_operator.cli.failure import CommandFailed, told
from tenantry_operator.cli.output import Format, as_text

EPILOG = (
    "Examples: `tenantry db init postgresql://admin@db.example/postgres --secret-out credentials.yaml` · "
    "`tenantry db init $URL --secret-out - | kubectl apply -f -` · `tenantry db init $URL --print`"
)
STANDARD: Final = "-"

AdminUrl = Annotated[
    str,
    typer.Argument(
        metavar="ADMIN_URL",
        help="A URL of Postgres, of a login that may make roles and databases. Its password may be in PGPASSWORD or "
        "~/.pgpass, where nobody else on the machine sees it.",
        envvar="TENANTRY_ADMIN_URL",
    ),
]
OperatorRole = Annotated[str, typer.Option("--operator-role", help="The operator's login.")]
Database = Annotated[str, typer.Option("--database", help="The database for Tenants: spec.database.")]
Registry = Annotated[str, typer.Option("--registry", help="The registry's database: registry.database of the chart.")]


@dataclass(frozen=True)
class SecretPlace:
    """Where the operator's credentials are put, and as which Secret."""

    out: str | None
    server: str
    namespace: str

    @property
    def file(self) -> Path | None:
        return None if self.out in (None, STANDARD) else Path(str(self.out))

    def manifest(self, role: str, password: str) -> str:
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": f"{self.server}-credentials", "namespace": self.namespace},
            "stringData": {"username": role, "password": password},
        }
        return as_text(body, Format.YAML)


def init(
    url: AdminUrl,
    print_only: Annotated[
        bool, typer.Option("--print", help="Print the SQL, without the password; do nothing.")
    ] = False,
    operator_role: OperatorRole = OPERATOR_ROLE,
    database: Database = TENANTS_DATABASE,
    registry: Registry = REGISTRY_DATABASE,
    secret_out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Write the operator's Secret to this file, for kubectl; - is standard output, if it is no terminal. A "
            "password that the file has already is used.",
        ),
    ] = None,
    password_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Take the password from here; - is standard input. Absent: a random one."),
    ] = None,
    new_password: Annotated[bool, typer.Option("--new-password", help="Give a role that exists a new one.")] = False,
    show_password: Annotated[bool, typer.Option("--show-password", help="Let it be written to a terminal.")] = False,
    take_ownership: Annotated[
        bool, typer.Option("--take-ownership", help="Give databases that exist to the operator's login.")
    ] = False,
    server: Annotated[str, typer.Option(help="The DatabaseServer, whose Secret is SERVER-credentials.")] = "primary",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="The operator's.")] = names.SYSTEM_NAMESPACE,
) -> None:
    """Make a Postgres server, 15 or newer, ready for a DatabaseServer: the operator's login and its databases.

    What is there already stays as it is; each step is said. ADMIN_URL's login needs CREATEROLE and CREATEDB, and to
    be allowed to give pg_signal_backend; it need not be a superuser.
    """
    wanted = Wanted(operator_role, tuple(dict.fromkeys((database, registry))), take_ownership)
    place = SecretPlace(secret_out, server, namespace)
    with told():
        if database == registry:
            raise CommandFailed(f"--database and --registry are both {database}: Tenants may not reach the registry")
        if secret_out == STANDARD and sys.stdout.isatty() and not (show_password or print_only):
            raise CommandFailed("a password is not written to a terminal: pipe it, or ask for it with --show-password")
        with session(url) as connection:
            standing = look(connection, wanted)
            refuse(standing, wanted)
            if print_only:
                _print(standing, wanted, new=new_password)
                return
            password = _password(standing, place, password_file, role=operator_role, new=new_password)
            # Written before it is the server's: one that nobody has could not be had again.
            if password and place.file:
                write_secretly(place.file, place.manifest(operator_role, password))
            known = standing.role_exists and password is not None and is_let_in(url, operator_role, password)
            verifier = verifier_of(connection, operator_role, password) if password and not known else None
            _do(connection, [*steps(standing, wanted, verifier=verifier)], wanted)
            _look_again(connection, wanted)
    if password and secret_out == STANDARD:
        print(place.manifest(operator_role, password), end="")


def _password(standing: Standing, place: SecretPlace, password_file: str | None, *, role: str, new: bool) -> str | None:
    """Return the password that the role is to have; None leaves it as it is. Raises CommandFailed."""
    if password_file is not None:
        return read_password(password_file)
    kept = None if new or place.file is None else password_in(place.file, role)
    if kept is not None:
        return kept
    if standing.role_exists and not new:
        if place.out is not None:
            raise CommandFailed(
                f"role {role} exists, and its password is not known here: give it by --password-file, or set another "
                "one: --new-password"
            )
        return None
    if place.out is None:
        raise CommandFailed("say where the new password goes, --secret-out FILE, or give one: --password-file FILE")
    return secrets.token_urlsafe(32)


def read_password(file: str) -> str:
    """Read the first line. Raises CommandFailed."""
    try:
        text = sys.stdin.readline() if file == STANDARD else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"the password cannot be read: {error}") from error
    password = text.split("\n", 1)[0].rstrip("\r")
    if not password:
        raise CommandFailed("the password that was given is empty")
    return password


def password_in(file: Path, role: str) -> str | None:
    """Return the password of a Secret that was written before; None when there is no file. Raises CommandFailed."""
    if not file.exists():
        return None
    try:
        data = yaml.safe_load(file.read_text("utf-8"))["stringData"]
        user, password = data["username"], data["password"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError) as error:
        raise CommandFailed(
            f"{file} is there and is no Secret of ours: {type(error).__name__}; name another"
        ) from error
    if user != role:
        raise CommandFailed(f"{file} is of the login {user}, and not of {role}; name another")
    return str(password)


def write_secretly(file: Path, text: str) -> None:
    """Write what nobody else may read, whole or not at all. Raises CommandFailed."""
    fresh = file.with_name(f".{file.name}.new")
    try:
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)
        fresh.replace(file)
    except OSError as error:
        raise CommandFailed(f"the Secret cannot be written: {error}") from error


def _print(standing: Standing, wanted: Wanted, *, new: bool) -> None:
    for step in steps(standing, wanted, verifier="" if new or not standing.role_exists else None):
        statement = step.shown or step.statement
        print(f"-- {step.what}: there already" if statement is None else f"{statement.as_string()};")


def _do(connection: Connection, every: list[Step], wanted: Wanted) -> None:
    for step in every:
        do(connection, step, wanted.role)
        print(f"{step.what}: {'there already' if step.statement is None else 'done'}", file=sys.stderr)


def _look_again(connection: Connection, wanted: Wanted) -> None:
    lacking = [step.what for step in steps(look(connection, wanted), wanted, verifier=None) if step.statement]
    if lacking:
        raise CommandFailed(f"the server took every statement, and yet it is not so: {'; '.join(lacking)}")
