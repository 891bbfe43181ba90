"""What the status of a Tenant says of its credentials."""

from tenantry_crds import CredentialsStatus, Slot
from tenantry_operator.model.names import TenantNames
from tenantry_operator.plan.tenant_rotation import Rotation


def credentials_status(names: TenantNames, rotation: Rotation) -> CredentialsStatus | None:
    """Say which slot is active and until when the other works, in whole seconds; None when it is not known since when.

    A status is written when it changes: fractions of a second are of no use to a reader.
    """
    rotated_at, expires_at = rotation.notes.rotated_at, rotation.expires_at
    if rotated_at is None:
        return None
    return CredentialsStatus(
        active_slot=Slot.A if rotation.active == names.logins[0] else Slot.B,
        rotated_at=rotated_at.replace(microsecond=0),
        previous_expires_at=expires_at and expires_at.replace(microsecond=0),
    )


def credentials_message(rotation: Rotation | None) -> str:
    """Say which logins work, and why a rotation that is asked for has not begun."""
    if rotation is None:
        return ""
    said = f"the Secret names {rotation.active}"
    if rotation.previous is not None and rotation.expires_at is not None:
        ends = rotation.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        said += f"; {rotation.previous} works until {ends}, or until nobody uses it"
    if rotation.waiting:
        said += "; another rotation is asked for, and begins when the old login is gone"
    return said
