"""What ``tenantry tenant rotate`` makes of a Tenant and a Secret, from values alone."""

from typing import Any

import pytest

from tenantry_crds import names
from tenantry_operator.cli.failure import CommandFailed
from tenantry_operator.cli.tenant_rotate import Rotated, carries, check_possible, conclusion, progress

VALUE = "2026-01-02T03:04:05.000006+00:00"


def tenant(*conditions: tuple[str, str, str, str], rotate: str = VALUE, **spec: Any) -> dict[str, Any]:
    said = [dict(zip(("type", "status", "reason", "message"), one, strict=True)) for one in conditions]
    metadata = {"name": "acme", "annotations": {names.ANNOTATION_ROTATE: rotate}}
    return {"metadata": metadata, "spec": spec, "status": {"conditions": said}}


def secret(**annotations: str) -> dict[str, Any]:
    said = {getattr(names, f"ANNOTATION_{key.upper()}"): value for key, value in annotations.items()}
    return {"metadata": {"name": "acme-database", "namespace": "system", "annotations": said}}


def test_the_secret_carries_what_was_asked_for_and_nothing_else() -> None:
    assert carries(secret(rotated_for=VALUE), VALUE)
    assert not carries(secret(rotated_for="before"), VALUE)
    assert not carries(secret(), VALUE)
    assert not carries(None, VALUE)


STALLED = ("Stalled", "True", "NotOurs", "")
READY = ("Ready", "False", "NotOurs", "somebody else's")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (tenant(lifecycle="Suspended"), "acme is Suspended, and rotates when it is Active again"),
        (tenant(lifecycle="Archived"), "`tenantry tenant resume acme` first"),
        (tenant(rotate="another"), "somebody else asked for another rotation of acme"),
        (tenant(STALLED, READY), "acme: NotOurs: somebody else's\n`tenantry explain NotOurs`"),
        ({"metadata": {"name": "acme", "deletionTimestamp": "now"}, "spec": {}}, "Tenant acme is being deleted"),
    ],
)
def test_what_cannot_be_is_not_waited_for(body: dict[str, Any], message: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        check_possible(body, VALUE)
    assert message in str(caught.value)


def test_a_tenant_with_another_trouble_is_waited_for() -> None:
    """A stalled Tenant whose credentials are looked after rotates all the same."""
    check_possible(tenant(STALLED, READY, ("CredentialsReady", "True", "Issued", "")), VALUE)
    check_possible(tenant(), VALUE)


def test_progress_says_why_it_has_not_begun() -> None:
    waiting = ("CredentialsReady", "True", "Issued", "another rotation is asked for")
    assert progress(tenant()) == "acme: the operator has not looked at it yet"
    assert progress(tenant(waiting, ("Ready", "True", "Provisioned", ""))) == "acme: another rotation is asked for"
    assert progress(tenant(waiting, READY)).endswith("(NotOurs: somebody else's)")


def test_the_conclusion_says_until_when_the_old_ones_work() -> None:
    done = Rotated(tenant(), VALUE, secret(rotated_for=VALUE, previous_expires_at="later"))
    assert conclusion(done) == (
        "Secret system/acme-database carries the new credentials of acme; the old ones work until later, "
        "or until nobody uses them"
    )
    assert conclusion(Rotated(tenant(), VALUE)) == f"acme: asked to rotate, {names.ANNOTATION_ROTATE} is {VALUE}"
