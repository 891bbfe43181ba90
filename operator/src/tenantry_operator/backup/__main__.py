"""`python -m tenantry_operator.backup dump|restore`: the program of the Jobs.

What it is told is in the environment: TENANTRY_ORDER (JSON), TENANTRY_SECRETS (a folder with one for each server, and
for the bucket), TENANTRY_ROOT (the mounted volume) or TENANTRY_BUCKET (JSON), TENANTRY_PLACE (what it is called),
TENANTRY_WORK (a folder of the pod's; backups pass through it). Ends with 0 only when all is done and was
seen to be right; its last word is in TENANTRY_TERMINATION_LOG.
"""

import os
import secrets
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Final

import psycopg
from pydantic import ValidationError

from tenantry_operator.backup.dump import dump, told
from tenantry_operator.backup.orders import BackupError, BucketOrder, DumpOrder, RestoreOrder
from tenantry_operator.backup.programs import find_client
from tenantry_operator.backup.restore import restore
from tenantry_operator.backup.sayings import told_of
from tenantry_operator.backup.servers import Login, Reach
from tenantry_operator.backup.store import Store, VolumeStore

LAST_WORD: Final = "/dev/termination-log"
LAST_WORD_LIMIT: Final = 2000


def main(arguments: list[str], environment: Mapping[str, str]) -> int:
    """Do what the order says; return the exit code."""
    signal.signal(signal.SIGTERM, _end)
    os.umask(0o027)
    verbs = {"dump": _dump, "restore": _restore}
    if len(arguments) != 1 or arguments[0] not in verbs:
        print(f"one of {', '.join(verbs)} is needed", file=sys.stderr)
        return 2
    try:
        word, code = verbs[arguments[0]](environment), 0
    except psycopg.Error as error:
        word, code = told_of(error), 1
    except (BackupError, OSError) as error:
        word, code = " ".join(str(error).split()), 1
    except (ValidationError, KeyError) as error:
        word, code = f"the order cannot be read: {error}", 1
    if code:
        print(word, file=sys.stderr, flush=True)
    _leave_word(environment, word)
    return code


def _dump(environment: Mapping[str, str]) -> str:
    order = DumpOrder.model_validate_json(environment["TENANTRY_ORDER"])
    store = _store(environment)
    manifest = dump(
        order,
        reach=Reach(order.server, _login(environment, "server")),
        registry=Reach(order.registry, _login(environment, "registry")),
        store=store,
        client=find_client(),
        work=Path(environment["TENANTRY_WORK"]),
        unique=secrets.token_hex(3),
        say=_say,
    )
    return told(manifest, f"{store.place}/{order.tenant}/{order.uid}/{manifest.made_at}")


def _restore(environment: Mapping[str, str]) -> str:
    order = RestoreOrder.model_validate_json(environment["TENANTRY_ORDER"])
    manifest = restore(
        order,
        reach=Reach(order.server, _login(environment, "server")),
        registry=Reach(order.registry, _login(environment, "registry")),
        store=_store(environment),
        client=find_client(),
        work=Path(environment["TENANTRY_WORK"]),
        say=_say,
    )
    return f"restored {manifest.rows} rows, isolation {manifest.isolation}, with the tenant id {manifest.id}"


def _store(environment: Mapping[str, str]) -> Store:
    place, near = environment["TENANTRY_PLACE"], Path(environment["TENANTRY_WORK"], "backups")
    if "TENANTRY_BUCKET" not in environment:
        return VolumeStore(Path(environment["TENANTRY_ROOT"]), place, near)
    # Only here: a pod that has a volume does not carry the client.
    from tenantry_operator.backup.bucket import BucketStore  # noqa: PLC0415
    from tenantry_operator.backup.bucket_client import Bucket  # noqa: PLC0415

    order = BucketOrder.model_validate_json(environment["TENANTRY_BUCKET"])
    bucket = Bucket(order, Path(environment["TENANTRY_SECRETS"], "bucket"))
    return BucketStore(bucket, place, near)


def _login(environment: Mapping[str, str], name: str) -> Login:
    return Login(Path(environment["TENANTRY_SECRETS"], name))


def _say(text: str) -> None:
    print(text, flush=True)


def _leave_word(environment: Mapping[str, str], word: str) -> None:
    """Write where the kubelet reads a container's last word; outside of a pod there may be no such file."""
    file = Path(environment.get("TENANTRY_TERMINATION_LOG", LAST_WORD))
    try:
        file.write_text(word[:LAST_WORD_LIMIT])
    except OSError as error:
        print(f"the last word could not be left: {error}", file=sys.stderr)


def _end(number: int, _: FrameType | None) -> None:
    """End in order, so that what was borrowed is given back: the first process of a container dies of no signal."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
