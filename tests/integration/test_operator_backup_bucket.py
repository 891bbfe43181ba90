"""The store of backups on a real server of S3: what is kept comes back, and what is wrong is said without any key."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from obstore.exceptions import GenericError

from tenantry_operator.backup import bucket_client
from tenantry_operator.backup.bucket import BucketStore
from tenantry_operator.backup.bucket_client import Bucket
from tenantry_operator.backup.orders import BackupError, BucketOrder, Manifest
from tenantry_testing.bucket import BUCKET, GUEST, OWNER, BucketServer

PLACE = f"s3://{BUCKET}/deep/er"
MANIFEST = Manifest(
    tenant="acme", id="id-1", uid="uid-1", installation="i", isolation="Schema", made_at="now", server="primary",
    server_version=150014, client_version="15.14", revision="t0001", owner="t_acme_owner", roles=(), parts=(),
    verified_on=150014,
)  # fmt: skip


@pytest.fixture(scope="module")
def running() -> Iterator[BucketServer]:
    with BucketServer() as server:
        yield server


@pytest.fixture
def server(running: BucketServer) -> BucketServer:
    running.empty()
    return running


def reach(server: BucketServer, folder: Path, keys: tuple[str, str] = OWNER, **changes: Any) -> Bucket:
    secret = folder / f"keys-{keys[0]}"
    secret.mkdir(exist_ok=True)
    for name, content in server.secret(keys).items():
        (secret / name).write_text(content)
    given = {"bucket": BUCKET, "prefix": "deep/er", "endpoint": server.endpoint, "region": "us-east-1"}
    return Bucket(BucketOrder.model_validate({**given, **changes}), secret)


def store_in(server: BucketServer, folder: Path) -> BucketStore:
    return BucketStore(reach(server, folder), PLACE, folder / "work")


def kept_in(store: BucketStore, path: str, **files: bytes) -> list[Any]:
    folder = store.begin(path)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [store.keep(path, name) for name in files]


def test_what_is_kept_comes_back_and_is_a_backup_only_by_its_manifest(
    server: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The least that a part may be.
    monkeypatch.setattr(bucket_client, "PART", 5 * bucket_client.MEBIBYTE)
    monkeypatch.setattr(bucket_client, "RANGE", 4 * bucket_client.MEBIBYTE)
    store, path = store_in(server, tmp_path), "acme/uid-1/20260102T030405Z-aaaaaa"
    # Of several parts, of one, and of none.
    large = os.urandom(2 * bucket_client.PART + 4711)
    files = kept_in(store, path, large=large, small=b"rows", empty=b"")
    assert "partNumber=3" in (server.folder / "log").read_text()
    assert [(one.name, one.size) for one in files] == [("large", len(large)), ("small", 4), ("empty", 0)]
    with pytest.raises(BackupError, match="there is no backup of acme"):
        store.newest("acme")
    with pytest.raises(BackupError, match=r"is no backup: it has no manifest\.json"):
        store.manifest(path)
    with pytest.raises(BackupError, match="is there already"):
        store.begin(path)
    store.finish(path, MANIFEST)
    assert server.objects == [f"deep/er/{path}/{name}" for name in ("empty", "large", "manifest.json", "small")]

    other = BucketStore(reach(server, tmp_path), PLACE, tmp_path / "elsewhere")
    assert (other.newest("acme"), other.manifest(path)[0]) == (path, MANIFEST)
    assert [other.fetch(path, one).read_bytes() for one in files] == [large, b"rows", b""]
    with pytest.raises(BackupError, match="there is no backup of ac "):
        other.newest("ac")

    kept_in(store, "acme/uid-1/20260102T030405Z-bbbbbb", half=b"half")
    kept_in(store, "acme/uid-2/20260102T030405Z-cccccc", others=b"others")
    assert store.newest("acme") == path
    assert (store.clear("acme", "uid-1"), store.clear("acme", "uid-1")) == (1, 0)
    assert {name.split("/")[3] for name in server.objects} == {"uid-1", "uid-2"}
    assert len(server.objects) == 6
    with pytest.raises(BackupError, match="outside of"):
        other.manifest("../../acme")


def test_what_changed_in_the_bucket_is_noticed(
    server: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, path = store_in(server, tmp_path), "acme/uid-1/20260102T030405Z-aaaaaa"
    [kept] = kept_in(store, path, rows=b"the rows")
    at = server.file(f"deep/er/{path}/rows")
    send = Bucket.send

    def damaged(bucket: Bucket, name: str, file: Path) -> None:
        send(bucket, name, file)
        server.file(f"deep/er/{name}").write_bytes(b"the rOws")

    monkeypatch.setattr(Bucket, "send", damaged)
    (store.folder / path / "more").write_bytes(b"the rows")
    with pytest.raises(BackupError, match=r"/more is not what was written: its size or checksum differs"):
        store.keep(path, "more")
    assert not (store.folder / path / "more").exists()

    for content in (b"the rOws", b"the row", b"the rows and more"):
        at.write_bytes(content)
        fresh = BucketStore(store.bucket, PLACE, tmp_path / "fresh")
        with pytest.raises(BackupError, match="its size or checksum differs"):
            fresh.fetch(path, kept)
    at.unlink()
    with pytest.raises(BackupError, match="lacks rows"):
        BucketStore(store.bucket, PLACE, tmp_path / "fresh").fetch(path, kept)


def test_a_manifest_that_does_not_come_back_makes_no_backup(
    server: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, path = store_in(server, tmp_path), "acme/uid-1/20260102T030405Z-aaaaaa"
    kept_in(store, path, rows=b"rows")
    monkeypatch.setattr(Bucket, "get", lambda *_: b"another")
    with pytest.raises(BackupError, match=r"manifest\.json is not what was written"):
        store.finish(path, MANIFEST)


def test_a_key_that_the_library_tells_is_taken_out(
    server: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise GenericError(f"a strange end of {OWNER[0]} and {OWNER[1]}")

    monkeypatch.setattr(bucket_client.obstore, "put", fail)
    with pytest.raises(BackupError, match="a strange end of … and …"):
        reach(server, tmp_path).put("acme/a", b"a")


WRONG = {
    "no bucket": ({"bucket": "no-such-bucket"}, OWNER, r"s3://no-such-bucket at .*: the bucket does not exist"),
    "no rights": ({}, GUEST, r"access is denied \(AccessDenied"),
    "another secret": ({}, (OWNER[0], GUEST[1]), "the secret access key is not that of the access key"),
    "another key": ({}, ("nobody", OWNER[1]), "the access key is not known there"),
    "another region": ({"region": "eu-west-1"}, OWNER, "the region is another one"),
    "nobody listens": ({"endpoint": "http://127.0.0.1:9"}, OWNER, "the endpoint cannot be reached"),
    "no such name": ({"endpoint": "https://nowhere.invalid"}, OWNER, "the endpoint's name is not known"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_and_no_key_is(
    case: str, server: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_client, "RETRIES", 1)
    changes, keys, said = WRONG[case]
    bucket = reach(server, tmp_path, keys, **changes)
    for attempt in (
        lambda: bucket.names("acme"),
        lambda: bucket.put("acme/a", b"a"),
        lambda: BucketStore(bucket, PLACE, tmp_path / "work").begin("acme/uid-1/stamp"),
        lambda: BucketStore(bucket, PLACE, tmp_path / "work").newest("acme"),
    ):
        with pytest.raises(BackupError, match=said) as refused:
            attempt()
        assert not any(key in str(refused.value) for key in keys)
        assert refused.value.__cause__ is None
        assert refused.value.__suppress_context__
        assert len(str(refused.value)) < 500


def test_a_certificate_of_another_authority_is_not_trusted(
    server: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_client, "RETRIES", 1)
    reach(server, tmp_path).put("acme/a", b"a")
    order = BucketOrder(bucket=BUCKET, endpoint=server.endpoint, region="us-east-1")
    keys = tmp_path / f"keys-{OWNER[0]}"
    (keys / "ca.crt").unlink()
    with pytest.raises(BackupError, match=r"certificate is not trusted \(UnknownIssuer\): caSecretRef"):
        Bucket(order, keys).names("acme")
    (keys / "ca.crt").write_text("no certificate")
    with pytest.raises(BackupError, match="No certificates found"):
        Bucket(order, keys).names("acme")
    (keys / "AWS_SECRET_ACCESS_KEY").unlink()
    with pytest.raises(BackupError, match=r"the Secret with the keys of .* cannot be read"):
        Bucket(order, keys)


def test_where_nothing_may_be_removed_a_backup_is_made_all_the_same(
    server: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, path = store_in(server, tmp_path), "acme/uid-1/20260102T030405Z-aaaaaa"
    kept_in(store, path, half=b"half")

    def refuse(*_: object) -> None:
        raise bucket_client.BucketRefused("access is denied")

    monkeypatch.setattr(Bucket, "remove", refuse)
    assert store.clear("acme", "uid-1") == 0
    later = path.replace("aaaaaa", "bbbbbb")
    kept_in(store, later, rows=b"rows")
    store.finish(later, MANIFEST)
    assert store.newest("acme") == later
