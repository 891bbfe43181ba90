"""Secrets as the operator reads and writes them, where a tenant may have written as well."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tenantry_crds import names as api
from tenantry_operator.apply.secrets import TYPE, WantedSecret, write_secret
from tenantry_operator.clients.kube import Invalid
from tenantry_operator.model.credentials import RotationNotes, read_time, write_time
from tenantry_operator.observe.secrets import as_observed

ODD = ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "yesterday", "2026-01-01T00:00:00", "2026-13-01", ""]


@pytest.mark.parametrize("text", ODD)
def test_a_time_that_cannot_be_told_in_utc_is_none(text: str) -> None:
    notes = {api.ANNOTATION_ROTATED_AT: text, api.ANNOTATION_PREVIOUS_EXPIRES_AT: text}
    metadata = {"name": "s", "namespace": "n", "uid": "u", "resourceVersion": "1", "annotations": notes}
    assert as_observed({"metadata": metadata}, owner_uid="x").rotation == RotationNotes()


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00.000Z", "2026-01-01T02:00:00+02:00"])
def test_a_time_that_is_read_can_be_written(text: str) -> None:
    read = read_time(text)
    assert read is not None
    assert read_time(write_time(read)) == read
    assert read_time("2026-01-01T02:00:00+02:00") == datetime(2026, 1, 1, tzinfo=UTC)


class Refusing:
    """An API server that has one Secret, and refuses each change of it."""

    def __init__(self, **there: object) -> None:
        self.there: dict[str, Any] = {"metadata": {"name": "s", "resourceVersion": "1"}, "type": TYPE, **there}
        self.done: list[object] = []

    async def replace(self, *_: object) -> None:
        raise Invalid(422, "Invalid", "no")

    async def get(self, *_: object, **__: object) -> dict[str, Any]:
        return self.there

    async def delete(self, *_: object, uid: str, version: str, **__: object) -> None:
        self.done.append((uid, version))

    async def create(self, _: object, body: dict[str, Any]) -> dict[str, Any]:
        self.done.append(sorted(body["metadata"]))
        return body


async def rewritten(kube: Any) -> list[object]:
    wanted = WantedSecret("s", "n", "label", "acme", "x", data={}, applied="1:2")
    observed = as_observed(
        {"metadata": {"name": "s", "namespace": "n", "uid": "u", "resourceVersion": "1"}}, owner_uid="x"
    )
    await write_secret(kube, wanted, observed=observed)
    done: list[object] = kube.done
    return done


@pytest.mark.parametrize("there", [{"immutable": True}, {"type": "Opaque"}])
async def test_a_secret_that_nobody_can_change_makes_way(there: dict[str, Any]) -> None:
    done = await rewritten(Refusing(**there))
    assert done == [("u", "1"), ["annotations", "labels", "name", "namespace"]]


@pytest.mark.parametrize("there", [{}, {"immutable": True, "metadata": {"resourceVersion": "2"}}])
async def test_one_that_is_refused_for_what_is_to_be_in_it_stays(there: dict[str, Any]) -> None:
    kube = Refusing(**there)
    with pytest.raises(Invalid):
        await rewritten(kube)
    assert kube.done == []
