"""``tenantry db start``, ``stop`` and ``status``: a Postgres for development on this machine, without Kubernetes."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote

import typer

from tenantry_crds import names
from tenantry_operator.cli.db_access import is_let_in, session
from tenantry_operator.cli.db_init import SecretPlace, password_in, write_secretly
from tenantry_operator.cli.db_preparation import OPERATOR_ROLE, Wanted, prepare, verifier_of
from tenantry_operator.cli.failure import FAILED, CommandFailed, told

START_EPILOG = "Examples: `tenantry db start` · `tenantry db start --data ~/postgres --port 25433`"
STOP_EPILOG = "Example: `tenantry db stop`"
STATUS_EPILOG = "Example: `tenantry db status`"

HOST: Final = "127.0.0.1"
PORT: Final = 25432
ADMINISTRATOR: Final = "postgres"
PLACES: Final = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql@*/bin")
"""Where packages put the programs, which most leave out of PATH: of Debian, Red Hat and Homebrew."""
START_SECONDS: Final = 60
NOT_RUNNING: Final = 3
NO_DATA: Final = 4

Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="The server's folder.")]
RunAs = Annotated[
    str | None,
    typer.Option(
        "--run-as", metavar="USER", help="If you are root: the user whom the server runs as, such as postgres."
    ),
]
DATA: Final = Path(".tenantry/db")


@dataclass(frozen=True)
class LocalServer:
    """A server in a folder, with its log and its passwords, run by whom we are or, if that is root, another user."""

    folder: Path
    programs: Path
    user: str | None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def administrators_password(self) -> Path:
        return self.folder / "password"

    @property
    def secret(self) -> Path:
        """The operator's login, as the Secret for a cluster."""
        return self.folder / "credentials.yaml"

    def run(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one of Postgres' programs. Raises CommandFailed when it cannot be run at all."""
        try:
            return subprocess.run(
                [str(self.programs / program), *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                cwd="/",
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user else None,
            )
        except (OSError, LookupError) as error:
            raise CommandFailed(f"{program} cannot be run as {self.user or 'you'}: {error}") from error

    def port(self) -> int | None:
        """Return where the server listens; None when it does not run. Raises CommandFailed."""
        done = self.run("pg_ctl", "status", "-D", str(self.data))
        if done.returncode in (NOT_RUNNING, NO_DATA):
            return None
        if done.returncode != 0:
            raise CommandFailed(f"pg_ctl says: {_said(done)}")
        return int((self.data / "postmaster.pid").read_text().splitlines()[3])

    def url(self, port: int, user: str, password: str, database: str) -> str:
        return f"postgresql://{quote(user)}:{quote(password)}@{HOST}:{port}/{database}"


def start(
    data: Data = DATA,
    port: Annotated[int, typer.Option(help="The loopback port, where it does not run yet.", min=1, max=65535)] = PORT,
    run_as: RunAs = None,
) -> None:
    """Start a Postgres for development on this machine, made ready as by `db init`; nothing when it runs.

    It listens on 127.0.0.1 alone, without TLS, and asks for passwords. They are in files of DIR that only their owner
    reads.
    """
    with told():
        server = _server(data, run_as)
        running = server.port()
        if running is None:
            _initialise(server)
            _start(server, port)
        _prepare(server, running or port)
        print(f"Postgres {'runs already' if running else 'runs'} on {HOST}:{running or port}, its data in {data}.")
        print(f"The operator's login, as a Secret: {server.secret}")
        print(f"The administrator's password ({ADMINISTRATOR}): {server.administrators_password}")


def stop(data: Data = DATA, run_as: RunAs = None) -> None:
    """Stop the Postgres of `db start`; its data stays. Nothing when it does not run."""
    with told():
        server = _server(data, run_as)
        if server.port() is None:
            print("Postgres does not run.")
            return
        done = server.run("pg_ctl", "stop", "-D", str(server.data), "-m", "fast", "-w")
        if done.returncode != 0:
            raise CommandFailed(f"Postgres does not stop: {_said(done)}")
        print(f"Postgres is stopped. Its data is in {data} still.")


def status(data: Data = DATA, run_as: RunAs = None) -> None:
    """Say whether the Postgres of `db start` runs, and where; ends with 1 when it does not."""
    with told():
        server = _server(data, run_as)
        port = server.port()
        if port is None:
            there = f"its data is in {data}" if server.data.exists() else f"there is none in {data}"
            print(f"Postgres does not run; {there}. To start it: tenantry db start")
            raise typer.Exit(FAILED)
        print(f"Postgres runs on {HOST}:{port}, its data in {data}.")


def _server(data: Path, run_as: str | None) -> LocalServer:
    root = os.geteuid() == 0
    if root and run_as in (None, "root"):
        raise CommandFailed(
            "Postgres refuses to run as root. Be another user, or name one whom the server shall run as, and who may "
            "enter the folder: --run-as postgres --data /var/tmp/tenantry-postgres"
        )
    folder = data.expanduser().absolute()
    return LocalServer(folder, find_programs(folder / "data", Path("/")), run_as if root else None)


def find_programs(data: Path, root: Path) -> Path:
    """Return the folder with initdb and pg_ctl: what PATH has, else the newest; of the data's version, if there is any.

    Raises CommandFailed with what to install.
    """
    on_path = shutil.which("initdb")
    places = [Path(on_path).resolve().parent] if on_path else []
    found = [path for place in PLACES for path in root.glob(place)]
    places += sorted(found, key=lambda path: [int(digits) for digits in _digits(path)], reverse=True)
    whole = [place for place in places if (place / "initdb").exists() and (place / "pg_ctl").exists()]
    if not whole:
        raise CommandFailed(
            "there is no initdb, neither on PATH nor where packages put it. Install Postgres 15 or newer: "
            "apt-get install postgresql (Debian, Ubuntu), dnf install postgresql-server (Fedora), brew install "
            "postgresql@17 (macOS)"
        )
    version = data / "PG_VERSION"
    wanted = version.read_text().strip() if version.exists() else None
    return next((place for place in whole if wanted in _digits(place)), whole[0])


def _digits(path: Path) -> Sequence[str]:
    return "".join(letter if letter.isdigit() else " " for letter in path.parent.name).split()


def _initialise(server: LocalServer) -> None:
    """Make the data beside its place and move it there, so that what is in its place is whole."""
    if server.data.exists():
        return
    fresh = server.folder / "data.new"
    try:
        server.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(fresh, ignore_errors=True)
        write_secretly(server.administrators_password, secrets.token_urlsafe(32) + "\n")
        if server.user:
            for path in (server.folder, server.administrators_password):
                shutil.chown(path, server.user, server.user)
    except (OSError, LookupError) as error:
        raise CommandFailed(f"the folder cannot be made: {error}") from error
    options = ["--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256", "--username", ADMINISTRATOR]
    done = server.run("initdb", "-D", str(fresh), f"--pwfile={server.administrators_password}", *options)
    if done.returncode != 0:
        raise CommandFailed(f"initdb failed: {_said(done)}")
    fresh.rename(server.data)


def _start(server: LocalServer, port: int) -> None:
    # Without a socket in a folder: its path may be too long for one, and whoever is on the machine could reach for it.
    options = f"-p {port} -c listen_addresses={HOST} -c unix_socket_directories="
    words = ("-D", str(server.data), "-l", str(server.log), "-o", options, "-w", "-t", str(START_SECONDS))
    done = server.run("pg_ctl", "start", *words)
    if done.returncode != 0:
        last = server.log.read_text(errors="replace").splitlines()[-5:] if server.log.exists() else [_said(done)]
        raise CommandFailed("Postgres does not start; its log ends with\n  " + "\n  ".join(last))


def _prepare(server: LocalServer, port: int) -> None:
    administrator = server.administrators_password.read_text().strip()
    url = server.url(port, ADMINISTRATOR, administrator, "postgres")
    password = password_in(server.secret, OPERATOR_ROLE)
    if password is None:
        password = secrets.token_urlsafe(32)
        place = SecretPlace(str(server.secret), "primary", names.SYSTEM_NAMESPACE)
        write_secretly(server.secret, place.manifest(OPERATOR_ROLE, password))
    known = is_let_in(url, OPERATOR_ROLE, password)
    with session(url) as connection:
        prepare(connection, Wanted(), verifier=None if known else verifier_of(connection, OPERATOR_ROLE, password))


def _said(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr or done.stdout).strip()
