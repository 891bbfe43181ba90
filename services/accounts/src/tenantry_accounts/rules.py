"""What must hold for users, decided without reaching any world."""

from tenantry_accounts.schemas import UserUpdate


def etag_of(version: int) -> str:
    """Return the strong entity tag of a user's version."""
    return f'"{version}"'


def is_expected(version: int, if_match: str | None) -> bool:
    """Say whether a change that names `if_match` (RFC 9110, 13.1.1) may be made to this version."""
    if if_match is None or if_match.strip() == "*":
        return True
    return etag_of(version) in {tag.strip() for tag in if_match.split(",")}


def changes_of(update: UserUpdate) -> dict[str, object]:
    """Return the fields that the caller sent, by name."""
    return {name: getattr(update, name) for name in update.model_fields_set}
