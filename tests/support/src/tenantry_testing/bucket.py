"""A server of S3 for tests: Versity's gateway over a folder, on loopback, which checks signatures and rights."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import URLError
from urllib.request import urlopen

from tenantry_cluster.binaries import ensure_binaries
from tenantry_cluster.certificates import Authority
from tenantry_cluster.layout import Layout
from tenantry_cluster.lock import alone
from tenantry_cluster.steps import Steps
from tenantry_cluster.waiting import wait_until

OWNER = ("tenantry-backups", "a-secret-that-nobody-may-see")
GUEST = ("somebody-else", "who-has-no-rights-there")
BUCKET = "acme-backups"
READY_SECONDS = 60


class BucketServer:
    """Answers by TLS with a certificate of an authority of its own; has one bucket.

    It ends with the context, and when the thread that started it dies.
    """

    def __init__(self) -> None:
        layout, steps = Layout.of_checkout(), Steps()
        with alone(steps, layout):
            ensure_binaries(steps, layout, programs=["bucket"])
        self._program = layout.bin / "bucket"
        self.folder = Path(tempfile.mkdtemp(prefix="tenantry-bucket-"))
        self._authority = Authority.in_folder(self.folder / "pki")
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint = ""

    @property
    def authority(self) -> str:
        return self._authority.pair.certificate.read_text()

    @property
    def objects(self) -> list[str]:
        """The names of all objects of the bucket, parts that are under way not among them."""
        root = self.folder / "data" / BUCKET
        files = (one for one in root.rglob("*") if one.is_file())
        return sorted(name for one in files if not (name := str(one.relative_to(root))).startswith("."))

    def file(self, name: str) -> Path:
        """Return where the content of an object lies."""
        return self.folder / "data" / BUCKET / name

    def secret(self, keys: tuple[str, str] = OWNER) -> dict[str, str]:
        """Return what a Secret with keys of it holds, and its authority."""
        return {"AWS_ACCESS_KEY_ID": keys[0], "AWS_SECRET_ACCESS_KEY": keys[1], "ca.crt": self.authority}

    def empty(self) -> None:
        for one in (self.folder / "data" / BUCKET).iterdir():
            shutil.rmtree(one) if one.is_dir() else one.unlink()

    def __enter__(self) -> Self:
        for name in ("meta", "accounts", f"data/{BUCKET}"):
            (self.folder / name).mkdir(parents=True)
        guest = {"access": GUEST[0], "secret": GUEST[1], "role": "user", "userID": 0, "groupID": 0, "projectID": 0}
        (self.folder / "accounts" / "users.json").write_text(json.dumps({"accessAccounts": {GUEST[0]: guest}}))
        pair = self._authority.issue("bucket", "bucket", hosts=["127.0.0.1"])
        with socket.create_server(("127.0.0.1", 0)) as free:
            listen = f"127.0.0.1:{free.getsockname()[1]}"
        self.endpoint = f"https://{listen}"
        command = [
            *("setpriv", "--pdeathsig", "KILL", "--", str(self._program)),
            *("--folder", str(self.folder), "--listen", listen),
            *("--certificate", str(pair.certificate), "--key", str(pair.key)),
        ]
        environment = {**os.environ, "ROOT_ACCESS_KEY": OWNER[0], "ROOT_SECRET_KEY": OWNER[1]}
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        wait_until(self._is_ready, seconds=READY_SECONDS, what="the bucket does not answer", check=self._check)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _is_ready(self) -> bool:
        context = ssl.create_default_context(cadata=self.authority)
        try:
            with urlopen(f"{self.endpoint}/healthz", timeout=2, context=context) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def _check(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
