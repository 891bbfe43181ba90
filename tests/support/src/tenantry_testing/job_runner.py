"""Runs the pods of Jobs as processes of this machine, in the place of the kubelet and of the Job controller.

The program, its arguments, its environment and what is mounted are the Job's own; the image is this checkout's Python.
"""

import asyncio
import base64
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tenantry_operator.clients.kube import JOBS, PODS, SECRETS, Kube, RawObject
from tenantry_operator.observe.backup import LABEL_JOB
from tenantry_testing.rights import job_ended

# It kills itself as it prints: who reads the line first and kills then, may come after the next statement.
DYING = """
import builtins, os, runpy, signal, sys
_, where, module, *sys.argv[1:] = sys.argv
printed = builtins.print
def dying(*words, **options):
    printed(*words, **options)
    if where in " ".join(map(str, words)):
        os.killpg(0, signal.SIGKILL)
builtins.print = dying
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


class JobRunner:
    """Has a folder in which the volumes of pods are made; a claim is a folder that stays."""

    def __init__(self, kube: Kube, namespace: str, folder: Path) -> None:
        self._kube = kube
        self._namespace = namespace
        self._folder = folder
        self._pods = 0

    def claim(self, name: str) -> Path:
        """Return what is in a PersistentVolumeClaim."""
        folder = self._folder / "claims" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    async def jobs(self) -> list[RawObject]:
        return await self._kube.list(JOBS, namespace=self._namespace)

    async def run_next(self, *, kill_at: str | None = None, ends: bool = True) -> str:
        """Run a pod of the one Job that has not ended; return what it printed.

        With `kill_at` it is killed once it prints that, and with `ends` the Job ends as its pod did.
        """
        [job] = [job for job in await self.jobs() if not (job.get("status") or {}).get("conditions")]
        code, printed, word = await self._run(job, kill_at=kill_at)
        await self._tell_pod(job, code, word)
        if ends:
            status = job_ended("Failed" if code else "Complete", now=datetime.now(UTC))
            await self._patch(job["metadata"]["name"], status)
        return printed

    async def _patch(self, name: str, status: dict[str, Any]) -> None:
        await self._kube.merge_patch(JOBS, name, {"status": status}, namespace=self._namespace, subresource="status")

    async def _run(self, job: RawObject, *, kill_at: str | None) -> tuple[int, str, str]:
        self._pods += 1
        root = self._folder / f"pod-{self._pods}"
        container = self._mount(job, root, await self._secrets(job))
        word = root / "termination-log"
        environment = {**os.environ, "TENANTRY_TERMINATION_LOG": str(word)}
        for one in container["env"]:
            value = one["value"]
            environment[one["name"]] = f"{root}{value}" if value.startswith("/") else value
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(container["command"][1:] if kill_at is None else ("-c", DYING, kill_at, *container["command"][2:])),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        output, _ = await process.communicate()
        printed, code = output.decode(), process.returncode or 0
        return code, printed, word.read_text() if word.exists() else ""

    async def _secrets(self, job: RawObject) -> dict[str, dict[str, bytes]]:
        """Return what each projected volume holds, by its name."""
        found: dict[str, dict[str, bytes]] = {}
        for volume in job["spec"]["template"]["spec"]["volumes"]:
            for source in volume.get("projected", {}).get("sources", ()):
                found.setdefault(volume["name"], {}).update(await self._secret(source["secret"]))
        return found

    async def _secret(self, source: dict[str, Any]) -> dict[str, bytes]:
        secret = await self._kube.get(SECRETS, source["name"], namespace=self._namespace)
        assert secret is not None, f"there is no Secret {source['name']}"
        return {item["path"]: base64.b64decode(secret["data"][item["key"]]) for item in source["items"]}

    def _mount(self, job: RawObject, root: Path, secrets: dict[str, dict[str, bytes]]) -> dict[str, Any]:
        """Make the pod's folders below `root`; return its container."""
        spec = job["spec"]["template"]["spec"]
        [container] = spec["containers"]
        claims = {one["name"]: one.get("persistentVolumeClaim", {}).get("claimName") for one in spec["volumes"]}
        for mount in container["volumeMounts"]:
            target = Path(f"{root}{mount['mountPath']}")
            target.parent.mkdir(parents=True, exist_ok=True)
            if claim := claims[mount["name"]]:
                target.symlink_to(self.claim(claim))
                continue
            target.mkdir()
            for name, content in secrets.get(mount["name"], {}).items():
                (target / name).write_bytes(content)
        return dict(container)

    async def _tell_pod(self, job: RawObject, code: int, word: str) -> None:
        metadata, template = job["metadata"], job["spec"]["template"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
        name = f"{metadata['name']}-{self._pods}"
        labels = {**template["metadata"]["labels"], LABEL_JOB: metadata["name"]}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": self._namespace,
                "labels": labels,
                "ownerReferences": [{**owner, "controller": True}],
            },
            "spec": template["spec"],
        }
        await self._kube.create(PODS, body)
        [container] = template["spec"]["containers"]
        ended = {"exitCode": code & 0xFF, "reason": "Error" if code else "Completed", "message": word}
        status = {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": {"terminated": ended},
        }
        change = {"status": {"phase": "Failed" if code else "Succeeded", "containerStatuses": [status]}}
        await self._kube.merge_patch(PODS, name, change, namespace=self._namespace, subresource="status")
