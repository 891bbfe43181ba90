"""The parts of a backup by themselves: the Job and what its pods say, the client's version, the volume, the content."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from tenantry_crds.absent import deletion_policy
from tenantry_crds.tenant import TenantSpec
from tenantry_migrations import TENANT
from tenantry_operator.backup import dump as dumping
from tenantry_operator.backup.__main__ import _store, main
from tenantry_operator.backup.bucket import BucketStore
from tenantry_operator.backup.bucket_client import explain
from tenantry_operator.backup.content import check_same
from tenantry_operator.backup.laying import moved_to
from tenantry_operator.backup.orders import (
    BackupError,
    BucketOrder,
    Content,
    DumpOrder,
    KeptFile,
    Manifest,
    RestoreOrder,
)
from tenantry_operator.backup.programs import Client
from tenantry_operator.backup.recorded import check_path
from tenantry_operator.backup.restore import _layout
from tenantry_operator.backup.store import MANIFEST, VolumeStore, take
from tenantry_operator.cli.doctor_backups import claim_line, claims_named, secret_line, secrets_named
from tenantry_operator.cli.doctor_checks import Level
from tenantry_operator.cli.failure import CommandFailed
from tenantry_operator.cli.restore_source import Reached, parse_source
from tenantry_operator.model.backup import (
    BucketDestination,
    DesiredBackup,
    JobPod,
    JobState,
    RegistryOrder,
    ServerSecrets,
    VolumeDestination,
)
from tenantry_operator.model.placement import Candidate
from tenantry_operator.observe.backup import as_observed
from tenantry_operator.plan.backup_manifests import backup_job, job_name, restore_order
from tenantry_operator.plan.tenant import plan_tenant
from tenantry_operator.settings import OperatorSettings
from tenantry_testing.crd_examples import BACKUP, BUCKET
from tenantry_testing.histories import EXPAND, tenant_history, write_history
from tenantry_testing.rights import job_ended
from tenantry_testing.tenant_damages import make_desired
from tenantry_testing.tenant_model import TenantModel

SERVER = {"name": "primary", "host": "db", "port": 5432, "database": "app", "sslmode": "verify-full"}
REGISTRY = RegistryOrder({**SERVER, "database": "tenantry"}, ServerSecrets("registry-operator"))
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
METADATA = {
    "name": "backup-acme-1",
    "namespace": "tenantry-system",
    "uid": "job-1",
    "annotations": {"tenantry.dev/owner-uid": "uid-1", "tenantry.dev/destination": "volume://backups"},
}


def seen(status: dict[str, Any], *pods: dict[str, Any], **metadata: Any) -> Any:
    bodies = [
        {
            "metadata": {"creationTimestamp": f"2026-01-02T03:0{n}:00Z", "ownerReferences": [{"uid": "job-1"}]},
            "status": pod,
        }
        for n, pod in enumerate(pods)
    ]
    body = {"metadata": {**METADATA, **metadata}, "spec": {"activeDeadlineSeconds": 600}, "status": status}
    return as_observed(body, bodies, owner_uid="uid-1", now=NOW)


def container(**state: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"state": state}]}


def test_a_job_is_verified_by_its_own_end_alone() -> None:
    assert seen({}).state is JobState.RUNNING
    assert seen({"succeeded": 1}, container(terminated={"exitCode": 0, "message": "done"})).state is JobState.RUNNING
    failed = seen(job_ended("Failed", now=NOW - timedelta(minutes=3), message="BackoffLimitExceeded"))
    assert (failed.state, failed.ended_for, failed.said) == (
        JobState.FAILED, timedelta(minutes=3), "BackoffLimitExceeded",
    )  # fmt: skip
    late = job_ended("Failed", now=NOW, message="Job was active longer than specified deadline")
    late["conditions"][-1]["reason"] = "DeadlineExceeded"
    assert seen(late).said == "not done within 600 s (deadline_seconds of TENANTRY_JOB_POD)"
    assert seen(late, container(terminated={"exitCode": 1, "message": "no space"})).said.endswith("; before: no space")
    complete = job_ended("Complete", now=NOW)
    assert seen(complete).state is JobState.VERIFIED
    assert seen(complete, deletionTimestamp="2026-01-02T03:04:05Z").state is not JobState.VERIFIED
    assert not as_observed({"metadata": METADATA, "status": complete}, (), owner_uid="uid-2", now=NOW).ours


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        (container(terminated={"exitCode": 1, "message": "no space\nleft"}), "no space left"),
        (container(terminated={"exitCode": 137, "reason": "OOMKilled"}), "OOMKilled, exit code 137"),
        (container(waiting={"reason": "ImagePullBackOff", "message": "not found"}), "ImagePullBackOff: not found"),
        (container(waiting={"reason": "ContainerCreating"}), ""),
        (container(running={}), ""),
        (
            {
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": 'persistentvolumeclaim "backups" not found',
                    }
                ]
            },
            'Unschedulable: persistentvolumeclaim "backups" not found',
        ),
    ],
)
def test_what_a_pod_says_is_told(pod: dict[str, Any], said: str) -> None:
    assert seen({}, pod).said == said
    younger = container(terminated={"exitCode": 1, "message": "younger"})
    assert seen({}, pod, younger).said == "younger"


def test_the_job_mounts_its_secrets_and_tells_none() -> None:
    model = TenantModel(make_desired())
    model.play_all(plan_tenant(model.desired, model.observe()).actions)
    backup = DesiredBackup(
        job=job_name("backup", "a" * 39, "uid-1"),
        namespace="tenantry-system",
        destination=VolumeDestination("backups"),
        pod=JobPod("image:1", pull_secrets=("pull",), node_selector={"a": "b"}, tolerations=({"key": "c"},)),
        secrets=ServerSecrets("primary-operator", ("primary-ca", "ca.pem")),
        registry=REGISTRY,
    )
    observed = model.observe()
    body = backup_job(model.desired, observed, backup, VolumeDestination("backups"))
    assert len(body["metadata"]["name"]) <= 63
    pod = body["spec"]["template"]["spec"]
    assert (pod["imagePullSecrets"], pod["nodeSelector"], pod["tolerations"]) == (
        [{"name": "pull"}], {"a": "b"}, [{"key": "c"}],
    )  # fmt: skip
    assert pod["automountServiceAccountToken"] is False
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert {"key": "ca.pem", "path": "ca.crt"} in pod["volumes"][2]["projected"]["sources"][1]["secret"]["items"]
    order = DumpOrder.model_validate_json(pod["containers"][0]["env"][0]["value"])
    assert [(part.schema_name, part.role) for part in order.parts] == [
        ("t_acme", "t_acme_owner"), ("s_acme", "tenantry_owner"),
    ]  # fmt: skip
    assert order.marker == observed.catalogue.marker_text
    assert order.registry.database == "tenantry"
    assert "registry-operator" in str(pod["volumes"][3]["projected"])
    assert not any(password in json.dumps(body) for password in model.passwords.values())


def test_the_job_mounts_the_keys_of_a_bucket_and_no_volume() -> None:
    model = TenantModel(make_desired())
    model.play_all(plan_tenant(model.desired, model.observe()).actions)
    bucket = BucketDestination("acme-backups", "a", "https://s3.example.com", "eu-west-1", "keys", ("ca", "ca.pem"))
    secrets, pod = ServerSecrets("primary-operator"), JobPod("image:1", deadline_seconds=600)
    backup = DesiredBackup(
        job="backup-acme", namespace="tenantry-system", destination=bucket, pod=pod, secrets=secrets, registry=REGISTRY
    )
    body = backup_job(model.desired, model.observe(), backup, bucket)
    assert body["metadata"]["annotations"]["tenantry.dev/destination"] == bucket.told
    assert body["spec"]["activeDeadlineSeconds"] == 600
    spec = body["spec"]["template"]["spec"]
    [keys] = [one["projected"]["sources"] for one in spec["volumes"] if one["name"] == "bucket"]
    assert [source["secret"]["name"] for source in keys] == ["keys", "ca"]
    assert [one["path"] for source in keys for one in source["secret"]["items"]] == [
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "ca.crt",
    ]  # fmt: skip
    assert not any("persistentVolumeClaim" in one for one in spec["volumes"])
    variables = {one["name"]: one["value"] for one in spec["containers"][0]["env"]}
    assert variables["TENANTRY_PLACE"] == "s3://acme-backups/a"
    order = BucketOrder.model_validate_json(variables["TENANTRY_BUCKET"])
    assert (order.endpoint, order.region) == ("https://s3.example.com", "eu-west-1")
    assert "TENANTRY_ROOT" not in variables


def test_only_a_pod_with_a_bucket_carries_its_client() -> None:
    program = "import sys, tenantry_operator.wiring, tenantry_operator.cli.app, tenantry_operator.backup.__main__"
    said = "print([name for name in sys.modules if name.startswith('obstore')])"
    told = subprocess.run([sys.executable, "-c", f"{program}; {said}"], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<Error><Code>NoSuchBucket</Code><Message>None</Message>", "the bucket does not exist (NoSuchBucket: None)"),
        ("<Error><Code>SlowDown</Code>", "it answered (SlowDown)"),
        ("error: InvalidCertificate(\n   NotValidForName,", "is not trusted (NotValidForName)"),
        ("error: InvalidCertificate(\n OtherError(\n   OtherError(\n CaUsedAsEndEntity", "(CaUsedAsEndEntity)"),
        ("kind: Connect,\n kind: ConnectionRefused", "cannot be reached (ConnectionRefused)"),
        ("kind: Timeout,", "cannot be reached (Timeout)"),
        ("status code: 404 Not Found: <html>", "it answered 404 Not Found, and not as a store of S3 does"),
        ("status code: 403 Forbidden: ", "access is denied"),
        ("Something else\nDebug source:\nheaders", "Something else"),
    ],
)
def test_what_a_bucket_says_is_explained(text: str, said: str) -> None:
    assert said in explain(text)[1]


def test_two_tenants_of_one_name_have_two_jobs() -> None:
    assert job_name("backup", "acme", "uid-1") != job_name("backup", "acme", "uid-2")


def test_what_the_restore_is_told_can_be_read() -> None:
    candidate = Candidate("primary", logins=3, most_per_login=1000)
    said = restore_order(
        "acme", installation="i", path="", server=SERVER, registry=SERVER, unrecorded=True, candidate=candidate
    )
    order = RestoreOrder.model_validate(said)
    assert order.unrecorded
    assert (order.tenant, order.server.database, order.logins, order.most_per_login) == ("acme", "app", 3, 1000)


def test_an_older_client_than_the_server_is_refused() -> None:
    client = Client(Path("/nowhere"), "15.14")
    client.check_server(150018)
    client.check_server(140000)
    with pytest.raises(BackupError, match=r"the server is Postgres 17, the image's pg_dump is 15\.14"):
        client.check_server(170002)
    client.check_archive("15.18")
    with pytest.raises(BackupError, match=r"made by pg_dump 18\.1, the image has 15\.14"):
        client.check_archive("18.1")


def test_what_was_restored_must_be_the_same() -> None:
    kept = Content(objects={"columns": 3}, tables={"things": "2 99"})
    check_same("t_acme", kept, Content(objects={"columns": 3}, tables={"things": "2 99"}))
    for other in (
        Content(objects={"columns": 2}, tables={"things": "2 99"}),
        Content(objects={"columns": 3}, tables={"things": "2 98"}),
        Content(objects={"columns": 3}, tables={}),
        Content(objects={"columns": 3}, tables={"things": "2 99", "more": "0 0"}),
    ):
        with pytest.raises(BackupError, match="not what was dumped"):
            check_same("t_acme", kept, other)


def manifest(**changes: Any) -> Manifest:
    values = {
        "tenant": "acme", "id": "id-1", "uid": "uid-1", "installation": "i", "isolation": "Schema", "made_at": "now",
        "server": "primary",
        "server_version": 150014, "client_version": "15.14", "revision": "t0001", "owner": "t_acme_owner", "roles": (),
        "parts": (), "verified_on": 150014,
    }  # fmt: skip
    return Manifest(**{**values, **changes})


def volume_in(folder: Path, near: str = ".near") -> VolumeStore:
    return VolumeStore(folder, "volume://backups", folder / near)


def test_a_backup_never_writes_over_another_one(tmp_path: Path) -> None:
    store = volume_in(tmp_path)
    folder = store.begin("acme/uid-1/1")
    (folder / "t_acme.dump").write_bytes(b"rows")
    kept = store.keep("acme/uid-1/1", "t_acme.dump")
    with pytest.raises(BackupError, match="cannot be written to"):
        store.begin("acme/uid-1/1")
    with pytest.raises(BackupError, match="there is no backup of acme"):
        store.newest("acme")
    store.finish("acme/uid-1/1", manifest())
    store.begin("acme/uid-1/2")
    store.begin("acme/uid-2/3")
    assert store.clear("acme", "uid-1") == 1
    assert store.newest("acme") == "acme/uid-1/1"
    assert store.manifest("acme/uid-1/1") == (manifest(), sha256(manifest().text).hexdigest())
    assert store.fetch("acme/uid-1/1", kept).read_bytes() == b"rows"
    assert (tmp_path / "acme/uid-2/3").is_dir()


def test_a_file_that_changed_is_noticed(tmp_path: Path) -> None:
    store = volume_in(tmp_path)
    folder = store.begin("acme/uid-1/1")
    (folder / "t_acme.dump").write_bytes(b"rows")
    kept = store.keep("acme/uid-1/1", "t_acme.dump")
    read = store.fetch("acme/uid-1/1", kept)
    for content in (b"rowz", b"row", b"rows and more"):
        (folder / "t_acme.dump").write_bytes(content)
        # What was looked at is what is read, whatever somebody does to the volume in between.
        assert store.fetch("acme/uid-1/1", kept) == read
        assert read.read_bytes() == b"rows"
        with pytest.raises(BackupError, match="checksum differs"):
            volume_in(tmp_path, ".fresh").fetch("acme/uid-1/1", kept)
        assert [one for one in (tmp_path / ".fresh").rglob("*") if one.is_file()] == []
    with pytest.raises(BackupError, match="lacks"):
        store.fetch("acme/uid-1/1", KeptFile(name="s_acme.dump", size=1, sha256=""))


@pytest.mark.parametrize("path", ["..", "../elsewhere", "acme/../../elsewhere", ""])
def test_nothing_outside_of_the_volume_is_read(tmp_path: Path, path: str) -> None:
    with pytest.raises(BackupError, match="outside"):
        volume_in(tmp_path).manifest(path)


@pytest.mark.parametrize("name", ["../2/t_acme.dump", "/etc/passwd", "..", ".manifest.json", "a/b", "a\n", ""])
def test_a_manifest_that_names_what_is_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    store, path = volume_in(tmp_path), "acme/uid-1/1"
    store.begin(path)
    whole = manifest().model_dump(mode="json", by_alias=True)
    table = {"table": "users", "columns": [], "file": {"name": name, "size": 1, "sha256": ""}, "content": ""}
    for told in ({"tables": [table]}, {"id": name}, {"uid": name}):
        (tmp_path / path / MANIFEST).write_text(json.dumps(whole | told))
        with pytest.raises(BackupError, match="cannot be read: String should match"):
            store.manifest(path)


def test_the_newest_backup_is_that_of_the_latest_time(tmp_path: Path) -> None:
    store = volume_in(tmp_path)
    for path in ("acme/a/20260101T000000Z-1", "acme/a/20260103T000000Z-1", "acme/a/20260102T000000Z-1"):
        store.begin(path)
        store.finish(path, manifest())
    store.begin("acme/b/20260104T000000Z-1")
    assert store.newest("acme") == "acme/a/20260103T000000Z-1"
    store.finish("acme/b/20260104T000000Z-1", manifest())
    with pytest.raises(BackupError, match=r"2 Tenants had the name acme: .*acme/a/20260103T.*, .*acme/b/20260104T"):
        store.newest("acme")


def test_a_manifest_of_another_format_is_refused(tmp_path: Path) -> None:
    store, path = volume_in(tmp_path), "acme/uid-1/1"
    store.begin(path)
    store.finish(path, manifest(format=1))
    with pytest.raises(BackupError, match="is of format 1, and this version restores format 2"):
        store.manifest(path)


def test_rows_of_a_later_revision_than_the_pool_are_refused(tmp_path: Path) -> None:
    reach = MagicMock()
    reach.server.name, shipped = "primary", TENANT.head
    with tenant_history(write_history(tmp_path)), pytest.raises(BackupError, match=r"with a MigrationRun to t9001"):
        moved_to(
            shipped, manifest(isolation="Pooled", revision=EXPAND), "acme/uid-1/1", reach=reach,
            connection=MagicMock(), store=MagicMock(), work=tmp_path, say=lambda _: None,
        )  # fmt: skip


def test_a_backup_in_the_place_of_another_is_refused() -> None:
    made = manifest(made_at="1")
    check_path(made, "old/acme/uid-1/1", where="here")
    for path in ("acme/uid-1/2", "acme/uid-2/1", "beta/uid-1/1", "1"):
        with pytest.raises(BackupError, match="belongs elsewhere"):
            check_path(made, path, where="here")


RESTORE = RestoreOrder.model_validate(
    {"tenant": "acme", "installation": "i", "server": SERVER, "registry": SERVER, "most_per_login": 1}
)


@pytest.mark.parametrize(
    ("forged", "said"),
    [
        ({"parts": [("s_acme", "tenantry_owner")]}, "s_acme of tenantry_owner, which is not the customer's"),
        ({"parts": [("t_acme", "tenantry_owner")]}, "not the customer's"),
        ({"parts": [("public", "t_acme_owner")]}, "not the customer's"),
        ({"parts": [("t_acme", "t_acme_owner")], "isolation": "Pooled"}, "not the customer's"),
        ({"extensions": [["dblink", "s_acme"]]}, "extension dblink in schema s_acme, which no Tenant may ask for"),
        ({"extensions": [["a b", "extensions"]]}, "which no Tenant may ask for"),
    ],
)
def test_a_manifest_that_asks_for_more_than_a_tenant_has_is_refused(forged: dict[str, Any], said: str) -> None:
    file = {"name": "a.dump", "size": 1, "sha256": ""}
    content = {"objects": {}, "tables": {}}
    told = dict(forged)
    told["parts"] = [
        {"schema": schema, "role": role, "file": file, "content": content} for schema, role in forged.get("parts", ())
    ]
    with pytest.raises(BackupError, match=said):
        _layout(RESTORE, manifest(**told))
    _layout(RESTORE, manifest(extensions=[["citext", "extensions"]]))


def test_no_more_is_taken_than_was_kept(tmp_path: Path) -> None:
    kept, blocks = KeptFile(name="rows", size=4, sha256=""), iter((b"rows", b"more", b"and more"))
    with pytest.raises(BackupError, match="checksum differs"):
        take(blocks, kept, tmp_path / "rows", where="volume://backups")
    assert [*blocks] == [b"and more"]


def test_a_pod_reads_its_own_copy_of_what_is_on_the_volume(tmp_path: Path) -> None:
    place = {"TENANTRY_PLACE": "volume://backups", "TENANTRY_ROOT": str(tmp_path / "volume")}
    store = _store({**place, "TENANTRY_WORK": str(tmp_path / "work")})
    (store.begin("acme/uid-1/1") / "rows").write_bytes(b"rows")
    read = store.fetch("acme/uid-1/1", store.keep("acme/uid-1/1", "rows"))
    assert read.is_relative_to(tmp_path / "work")


def test_what_lies_beside_the_attempts_in_a_bucket_stays(tmp_path: Path) -> None:
    bucket = MagicMock()
    bucket.names.return_value = [
        "acme/uid-1", "acme/uid-1/notes.txt", "acme/uid-1/1/begun", "acme/uid-1/2/a", f"acme/uid-1/2/{MANIFEST}",
    ]  # fmt: skip
    assert BucketStore(bucket, "s3://backups", tmp_path / "work").clear("acme", "uid-1") == 1
    bucket.remove.assert_called_once_with(["acme/uid-1/1/begun"])


@pytest.mark.parametrize(
    ("text", "claim", "path"),
    [
        ("volume://backups", "backups", ""),
        ("volume://backups/", "backups", ""),
        ("volume://my.backups/acme/uid/20260102T030405Z-a", "my.backups", "acme/uid/20260102T030405Z-a"),
    ],
)
def test_a_place_is_read(text: str, claim: str, path: str) -> None:
    assert parse_source(text, "acme", Reached()) == (VolumeDestination(claim), path)


BACKUP_PATH = "acme/uid-1/20260102T030405Z-0a1b2c"


@pytest.mark.parametrize(
    ("text", "prefix", "path"),
    [
        ("s3://acme-backups", "", ""),
        ("s3://acme-backups/", "", ""),
        ("s3://acme-backups/tenants/eu", "tenants/eu", ""),
        (f"s3://acme-backups/{BACKUP_PATH}", "", BACKUP_PATH),
        (f"s3://acme-backups/tenants/eu/{BACKUP_PATH}", "tenants/eu", BACKUP_PATH),
        ("s3://acme-backups/acme/uid-1/not-a-time", "acme/uid-1/not-a-time", ""),
    ],
)
def test_a_place_in_a_bucket_is_read(text: str, prefix: str, path: str) -> None:
    found = BucketDestination("acme-backups", prefix, None, "us-east-1", "keys", None)
    assert parse_source(text, "acme", Reached(credentials="keys")) == (found, path)
    assert f"{found.place}/{path}".rstrip("/") == text.rstrip("/")


def test_a_bucket_is_reached_as_the_command_says() -> None:
    reached = Reached("https://s3.example.com:9000", "eu-west-1", "keys", "ca")
    found, _ = parse_source("s3://acme-backups/tenants", "acme", reached)
    assert found == BucketDestination(
        "acme-backups", "tenants", "https://s3.example.com:9000", "eu-west-1", "keys", ("ca", "ca.crt")
    )
    assert found.told == "s3://acme-backups/tenants at https://s3.example.com:9000"
    with pytest.raises(CommandFailed, match="needs --credentials-secret"):
        parse_source("s3://acme-backups", "acme", Reached())
    with pytest.raises(CommandFailed, match="endpoint: String should match"):
        parse_source("s3://acme-backups", "acme", Reached("s3.example.com", credentials="keys"))
    with pytest.raises(CommandFailed, match="are of a bucket"):
        parse_source("volume://backups", "acme", Reached(credentials="keys"))


@pytest.mark.parametrize(
    "text", ["backups", "volume://", "volume://a/../b", "s3://", "s3://a/../b", "s3://A", "volume://A", "file:///a"]
)
def test_a_place_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(CommandFailed, match="--from takes"):
        parse_source(text, "acme", Reached())


def test_an_order_that_cannot_be_read_ends_with_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    word = tmp_path / "word"
    assert main(["dump"], {"TENANTRY_ORDER": "{}", "TENANTRY_TERMINATION_LOG": str(word)}) == 1
    assert "the order cannot be read" in word.read_text()
    assert main(["heal"], {}) == 2
    assert "dump, restore" in capsys.readouterr().err


def test_the_pod_of_jobs_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"image": "a:1", "pull_policy": "Always", "pull_secrets": ["b"], "resources": {"limits": {"memory": "1Gi"}}}
    monkeypatch.setenv("TENANTRY_JOB_POD", json.dumps(said))
    pod = OperatorSettings().job_pod
    assert pod is not None
    assert (pod.image, pod.pull_policy, list(pod.pull_secrets)) == ("a:1", "Always", ["b"])


def test_the_doctor_names_claims_that_are_not_there() -> None:
    spec = {"deletionPolicy": "BackupThenDelete", "backup": BACKUP}
    tenants = [{"metadata": {"name": name}, "spec": spec} for name in ("acme", "globex")]
    kept = {"metadata": {"name": "kept"}, "spec": {**spec, "deletionPolicy": "Retain"}}
    assert claims_named([*tenants, kept]) == {"backups": ["acme", "globex"]}
    assert claim_line("backups", None, "tenantry-system", ["acme"]).level is Level.FAIL
    assert claim_line("backups", {"status": {"phase": "Bound"}}, "tenantry-system", ["acme"]).level is Level.OK
    assert claim_line("backups", {"status": {"phase": "Lost"}}, "tenantry-system", ["acme"]).level is Level.FAIL


def test_the_doctor_names_the_keys_of_buckets_that_are_not_there() -> None:
    spec = {"deletionPolicy": "BackupThenDelete", "backup": {"destination": {"s3": BUCKET}}}
    tenants = [{"metadata": {"name": name}, "spec": spec} for name in ("acme", "globex")]
    assert (claims_named(tenants), secrets_named(tenants)) == ({}, {"bucket": ["acme", "globex"]})
    whole = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    for data, level in ((None, Level.FAIL), ({"AWS_ACCESS_KEY_ID": ""}, Level.FAIL), (whole, Level.OK)):
        body = None if data is None else {"data": data}
        assert secret_line("bucket", body, "tenantry-system", ["acme"]).level is level


def test_the_policy_is_read() -> None:
    spec = TenantSpec.model_validate(
        {"displayName": "Acme", "isolation": "Schema", "deletionPolicy": "BackupThenDelete", "backup": BACKUP}
    )
    assert deletion_policy(spec).value == "BackupThenDelete"


ORDER = DumpOrder.model_validate(
    {
        "tenant": "acme", "id": "id-1", "uid": "uid-1", "installation": "i", "isolation": "Schema", "marker": "ours",
        "owner": "t_acme_owner", "roles": [], "server": SERVER, "registry": SERVER,
        "parts": [{"schema": "t_acme", "database": "app", "role": "t_acme_owner"}],
    }
)  # fmt: skip


@contextmanager
def nothing(*_: object, **__: object) -> Iterator[Any]:
    yield MagicMock()


@pytest.fixture
def without_postgres(monkeypatch: pytest.MonkeyPatch) -> None:
    """What asks a server does nothing: the order of what is done is all that is looked at."""
    for name in ("only_one", "borrowed", "scratch_database"):
        monkeypatch.setattr(dumping, name, nothing)
    monkeypatch.setattr(dumping, "marker_of", lambda *_: "ours")
    monkeypatch.setattr(dumping, "_stamp", lambda *_: "1")
    monkeypatch.setattr(dumping, "_write", lambda *_, **__: ([], None))
    monkeypatch.setattr(dumping, "_manifest", lambda *_, **__: manifest())
    monkeypatch.setattr(dumping, "fill", lambda *_, **__: [])
    monkeypatch.setattr(dumping, "compare", lambda *_, **__: None)


def dump_to(folder: Path, order: DumpOrder = ORDER) -> list[str]:
    store = volume_in(folder)
    reach, client = MagicMock(session=nothing), MagicMock()
    dumping.dump(
        order, reach=reach, registry=reach, store=store, client=client, work=folder, unique="1", say=lambda _: None
    )
    return [str(one.relative_to(folder)) for one in folder.glob("*/*/*/manifest.json")]


def fails(*_: object, **__: object) -> None:
    raise BackupError("it is not the same")


@pytest.mark.usefixtures("without_postgres")
def test_a_trial_that_goes_well_makes_a_backup(tmp_path: Path) -> None:
    assert dump_to(tmp_path) == ["acme/uid-1/1/manifest.json"]


@pytest.mark.usefixtures("without_postgres")
@pytest.mark.parametrize("step", ["fill", "compare", "_write"])
def test_without_a_trial_that_went_well_there_is_no_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(dumping, step, fails)
    with pytest.raises(BackupError, match="not the same"):
        dump_to(tmp_path)
    assert [*tmp_path.glob("*/*/*/manifest.json")] == []


@pytest.mark.usefixtures("without_postgres")
def test_a_grant_that_the_trial_cannot_make_is_no_trial_that_went_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dumping, "fill", lambda *_, **__: ["role x does not exist"])
    with pytest.raises(BackupError, match="could not grant all"):
        dump_to(tmp_path)


@pytest.mark.usefixtures("without_postgres")
def test_what_bears_another_marker_is_not_dumped(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="somebody else's"):
        dump_to(tmp_path, ORDER.model_copy(update={"marker": "another"}))
    assert [*tmp_path.iterdir()] == []
