"""BackupThenDelete and `tenantry tenant restore` on the running system: the Job in its own image, on a volume."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tenantry_testing.demo.programs import ProgramFailed
from tenantry_testing.running import MadeTenant, Running, make_notes, tenant_manifest

SYSTEM = "tenantry-system"
FOLDER = "/var/tmp/tenantry-e2e-backups"
MakeTenant = Callable[..., MadeTenant]


def apply(running: Running, *bodies: dict[str, Any]) -> None:
    running.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies}))


def image(running: Running) -> str:
    deployment = running.programs.object("deployment", "tenantry-operator", f"--namespace={SYSTEM}")
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])


@pytest.fixture(scope="module")
def claim(running: Running) -> Iterator[str]:
    """A claim on a folder of the node: a cluster without a provisioner has no other volumes that last."""
    name = f"e2e-backups-{uuid.uuid4().hex[:6]}"
    folder = f"{FOLDER}/{name}"
    size = {"storage": "1Gi"}
    shared = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    volume = {"capacity": size, "hostPath": {"path": folder, "type": "DirectoryOrCreate"}, **shared}
    apply(
        running,
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {**volume, "persistentVolumeReclaimPolicy": "Retain"},
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": SYSTEM},
            "spec": {"volumeName": name, "resources": {"requests": size}, **shared},
        },
    )
    # The group of a pod is not given a folder of the node, as it is given other volumes.
    on_node(running, name, folder, "import os; os.chmod('/backups', 0o777)")
    yield name
    running.kubectl("delete", "jobs", f"--namespace={SYSTEM}", "--selector=app.kubernetes.io/component=restore")
    on_node(running, name, folder, "import shutil; shutil.rmtree('/backups', ignore_errors=True)")
    running.kubectl("delete", "pvc", name, f"--namespace={SYSTEM}", "--timeout=60s")
    running.kubectl("delete", "pv", name, "--timeout=60s")


def on_node(running: Running, name: str, folder: str, program: str) -> None:
    """Run a line of Python as root with the folder of the node mounted."""
    container = {
        "name": "python",
        "image": image(running),
        "command": ["python", "-c", program],
        "securityContext": {"runAsUser": 0},
        "volumeMounts": [{"name": "folder", "mountPath": "/backups"}],
    }
    spec = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [{"name": "folder", "hostPath": {"path": folder, "type": "DirectoryOrCreate"}}],
    }
    apply(
        running,
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec},
    )
    running.kubectl(
        "wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=90s", "--namespace=default"
    )
    running.kubectl("delete", "pod", name, "--namespace=default", "--timeout=60s")


def destination(claim: str) -> dict[str, Any]:
    return {"destination": {"volume": {"claimName": claim}}}


def there(running: Running, tenant: MadeTenant) -> list[tuple[str]]:
    key = tenant.name.replace("-", "_")
    with closing(psycopg.connect(running.postgres_url, autocommit=True, connect_timeout=10)) as administrator:
        return administrator.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname = ANY (%s)", [[f"t_{key}", f"s_{key}"]]
        ).fetchall()


def notes(tenant: MadeTenant) -> list[tuple[Any, ...]]:
    with closing(psycopg.connect(tenant.login_url(), autocommit=True, connect_timeout=10)) as login:
        return login.execute("SELECT id, text FROM notes ORDER BY id").fetchall()


def test_a_tenant_is_backed_up_then_deleted_and_comes_back(
    running: Running, make_tenant: MakeTenant, claim: str
) -> None:
    tenant = make_tenant(backup=destination(claim))
    make_notes(tenant)
    with closing(psycopg.connect(tenant.login_url(), autocommit=True, connect_timeout=10)) as login:
        login.execute(sql.SQL("INSERT INTO notes SELECT i, 'note ' || i FROM generate_series(1001, 1100) i"))
    kept = notes(tenant)
    identity = running.programs.object("tenant", tenant.name)["status"]["id"]
    tenant.patch({"deletionProtection": "Disabled", "deletionPolicy": "BackupThenDelete"})
    running.kubectl("delete", "tenant", tenant.name, "--timeout=180s", timeout=200.0)
    assert there(running, tenant) == []
    selector = f"--field-selector=reason=BackedUp,involvedObject.name={tenant.name}"
    [event] = running.programs.items("events", selector)
    assert f"volume://{claim}/{tenant.name}/" in event["message"]

    restore = ("tenant", "restore", tenant.name, "--from", f"volume://{claim}")
    said = running.programs.tenantry(*restore, "-o", "json", timeout=180)
    assert json.loads(said)["state"] == "Restored"
    running.kubectl("apply", "-f", "-", stdin=tenant_manifest(tenant.name))
    tenant.wait_ready()
    assert running.programs.object("tenant", tenant.name)["status"]["id"] == identity
    assert notes(tenant) == kept
    with pytest.raises(ProgramFailed, match="never writes over one"):
        running.programs.tenantry(*restore)


def test_without_its_volume_nothing_is_dropped_and_it_says_so(running: Running, make_tenant: MakeTenant) -> None:
    tenant = make_tenant(backup=destination("e2e-there-is-no-such-claim"))
    tenant.patch({"deletionProtection": "Disabled", "deletionPolicy": "BackupThenDelete"})
    running.kubectl("delete", "tenant", tenant.name, "--wait=false")
    deadline = time.monotonic() + 90
    while "e2e-there-is-no-such-claim" not in (message := deleting(running, tenant)):
        assert time.monotonic() < deadline, message
        time.sleep(0.5)
    assert len(there(running, tenant)) == 2
    tenant.patch({"deletionPolicy": "Retain"})
    running.kubectl("wait", "--for=delete", f"tenant/{tenant.name}", "--timeout=60s")
    assert len(there(running, tenant)) == 2


def deleting(running: Running, tenant: MadeTenant) -> str:
    conditions = running.programs.object("tenant", tenant.name).get("status", {}).get("conditions", [])
    return next((f"{one['reason']}: {one['message']}" for one in conditions if one["type"] == "Deleting"), "")
