"""A Tenant's credentials: where they are written, in which form, and when they are replaced."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from tenantry_crds.base import DnsSubdomain, Part, Rule

# As Go writes durations; the digits keep the whole within what a duration of CEL can hold.
DURATION = r"^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?$"
ENDPOINT_KEYS = (
    "pooler_host",
    "pooler_port",
    "pooler_mode",
    "pooler_uri",
    "readonly_host",
    "readonly_port",
    "readonly_uri",
)
"""The keys that a Secret has if the server has a pooler, or replicas."""

PLACEHOLDERS = ("username", "password", "host", "port", "database", "schema", "sslmode", "uri", *ENDPOINT_KEYS)
# Every brace belongs to a placeholder that there is.
TEMPLATE = rf"^([^{{}}]|\{{({'|'.join(PLACEHOLDERS)})\}})*$"
BINDING_KEYS = (
    "type",
    "provider",
    "host",
    "port",
    "database",
    "schema",
    "username",
    "password",
    "sslmode",
    "uri",
    "ca.crt",
    *ENDPOINT_KEYS,
)
"""The keys that Secrets have, after the Service Binding convention."""

Duration = Annotated[str, Field(min_length=2, max_length=20, pattern=DURATION)]


class Slot(StrEnum):
    """One of the two logins by which rotation overlaps."""

    A = "a"
    B = "b"


class CredentialsRotation(Part):
    """When the login and its password are replaced."""

    interval: Annotated[
        Duration | None,
        Field(
            description="Longest time between two rotations, as in 720h; up to a twentieth sooner, so that not all "
            "Tenants rotate at once. 0s: never by time. Absent: 720h."
        ),
    ] = None
    overlap: Annotated[
        Duration | None,
        Field(
            description="How long the old login works beside the new one, as in 1h; it is dropped sooner when nobody "
            "is connected by it. Shortening it holds at once, and 0s is for an emergency. Absent: 1h."
        ),
    ] = None

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="tenant-rotation-interval",
            rule="!has(self.interval) || duration(self.interval) == duration('0s') || "
            "(duration(self.interval) >= duration('1m') && duration(self.interval) <= duration('8784h'))",
            message="interval is 0s (never by time), or between 1m and 8784h",
            field_path=".interval",
        ),
        Rule(
            name="tenant-rotation-overlap",
            rule="!has(self.overlap) || duration(self.overlap) <= duration('720h')",
            message="overlap is at most 720h",
            field_path=".overlap",
        ),
    )


class TenantCredentials(Part):
    """Where the tenant's credentials are written, and when they are replaced."""

    secret_name: Annotated[
        DnsSubdomain | None,
        Field(
            description="Name of the Secret with the credentials, in the tenant's namespace if it has one, else in "
            "tenantry-system. Absent: <tenant>-database."
        ),
    ] = None
    rotation: Annotated[
        CredentialsRotation | None, Field(description="When the login and its password are replaced.")
    ] = None
    template: Annotated[
        dict[str, Annotated[str, Field(max_length=2048, pattern=TEMPLATE)]] | None,
        Field(
            max_length=16,
            description="More keys of the Secret, each a text with {username}, {password}, {host}, {port}, {database}, "
            "{schema}, {sslmode} or {uri} in it, or {pooler_host}, {pooler_port}, {pooler_mode}, {pooler_uri}, "
            "{readonly_host}, {readonly_port} or {readonly_uri}, which are those of the server itself where it has no "
            "pooler or no replicas; no other braces. The values are put in as they are.",
        ),
    ] = None

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="tenant-secret-is-not-the-systems",
            rule="!has(self.secretName) || !self.secretName.startsWith('tenantry')",
            message="names that start with tenantry are the system's own",
            field_path=".secretName",
        ),
        Rule(
            name="tenant-template-keys",
            rule="!has(self.template) || self.template.all(key, size(key) <= 253 && key.matches('^[-._a-zA-Z0-9]+$'))",
            message="a key of the Secret has letters, digits, -, _ and . only, and at most 253 of them",
            field_path=".template",
        ),
        Rule(
            name="tenant-template-leaves-the-binding",
            rule="!has(self.template) || self.template.all(key, !(key in "
            f"[{', '.join(repr(key) for key in BINDING_KEYS)}]))",
            message="template cannot have a key that Secrets have: " + ", ".join(BINDING_KEYS),
            field_path=".template",
        ),
    )


class CredentialsStatus(Part):
    """Which login the Secret names, and until when the one before it works."""

    active_slot: Annotated[Slot, Field(description="The slot of the login that the Secret names.")]
    rotated_at: Annotated[datetime, Field(description="When the Secret last got another login or password.")]
    previous_expires_at: Annotated[
        datetime | None, Field(description="When the old login stops to work at the latest; absent when there is none.")
    ] = None


class EffectiveRotation(Part):
    """When the login and its password are replaced, including what the spec leaves out."""

    interval: Annotated[str, Field(max_length=20, description="Longest time between two rotations; 0s: never by time.")]
    overlap: Annotated[str, Field(max_length=20, description="How long the old login works beside the new one.")]
