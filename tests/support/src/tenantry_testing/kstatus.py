"""kstatus: how tools that wait for an object read its status. It is a Go library; here are its rules as a function.

After its documentation and code, https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus (README.md,
status/generic.go, status/status.go), for objects that are not of Kubernetes' own types:

1. A deletionTimestamp: Terminating.
2. status.observedGeneration that is not metadata.generation: InProgress. One that is absent says nothing.
3. The first of the conditions Reconciling and Stalled that is True: InProgress, or Failed.
4. Ready True: Current; Ready False or Unknown: InProgress.
5. Else Current: what says nothing is taken for well.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from tenantry_crds.reasons import Reason

DECIDING = ("Ready", "Reconciling", "Stalled")


class Status(StrEnum):
    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    CURRENT = "Current"
    TERMINATING = "Terminating"


def compute(body: Mapping[str, Any]) -> Status:
    """Say what a tool that waits for the object reads."""
    metadata, status = body["metadata"], body.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return Status.TERMINATING
    if {"generation"} <= metadata.keys() and status.get("observedGeneration", metadata["generation"]) != metadata[
        "generation"
    ]:
        return Status.IN_PROGRESS
    for one in status.get("conditions") or ():
        if one["type"] == "Reconciling" and one["status"] == "True":
            return Status.IN_PROGRESS
        if one["type"] == "Stalled" and one["status"] == "True":
            return Status.FAILED
    ready = next((one["status"] for one in status.get("conditions") or () if one["type"] == "Ready"), "True")
    return Status.CURRENT if ready == "True" else Status.IN_PROGRESS


def check(body: Mapping[str, Any]) -> Status:
    """Return what a tool reads. Raises AssertionError where a person who reads the conditions would read another thing.

    Of an object whose newest spec was looked at exactly one of Ready, Reconciling and Stalled is True, whatever the
    order in which they stand; of one that leaves at most one is. Every reason is in the table.
    """
    conditions = list(body["status"]["conditions"])
    types = [one["type"] for one in conditions]
    assert len(set(types)) == len(types), f"a condition is there twice: {types}"
    assert set(DECIDING) <= set(types), f"one of {DECIDING} is not said: {types}"
    for one in conditions:
        Reason(one["reason"])
        assert one["observedGeneration"] <= body["status"]["observedGeneration"], one
    said = {one["type"]: one for one in conditions if one["type"] in DECIDING}
    assert {one["observedGeneration"] for one in said.values()} == {body["status"]["observedGeneration"]}
    true = [kind for kind, one in said.items() if one["status"] == "True"]
    read = compute(body)
    if read is Status.TERMINATING:
        assert len(true) <= 1, true
        return read
    assert len(true) == 1, f"exactly one of {DECIDING} is True, not {true}: {said}"
    wanted = {"Ready": Status.CURRENT, "Reconciling": Status.IN_PROGRESS, "Stalled": Status.FAILED}[true[0]]
    turned = compute({**body, "status": {**body["status"], "conditions": conditions[::-1]}})
    assert read is turned is wanted, (read, turned, wanted)
    return read
