"""A condition of a status, and the condition types in use."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from tenantry_crds.base import ObservedGeneration, Part

ConditionStatus = Literal["True", "False", "Unknown"]


class ConditionType(StrEnum):
    """Ready, Reconciling and Stalled follow kstatus; the others name one promise each."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    DATABASE_READY = "DatabaseReady"
    CREDENTIALS_READY = "CredentialsReady"
    MIGRATIONS_UP_TO_DATE = "MigrationsUpToDate"
    DRIFT_DETECTED = "DriftDetected"
    ISOLATION_VERIFIED = "IsolationVerified"
    SUSPENDED = "Suspended"
    NAMESPACE_READY = "NamespaceReady"
    DELETING = "Deleting"
    REACHABLE = "Reachable"
    PRIVILEGES_SUFFICIENT = "PrivilegesSufficient"
    CAPACITY_AVAILABLE = "CapacityAvailable"
    AVAILABLE = "Available"
    PROGRESSING = "Progressing"


class Condition(Part):
    """One observation about the object."""

    type: Annotated[str, Field(min_length=1, max_length=64, description="What is observed, as in Ready.")]
    status: Annotated[ConditionStatus, Field(description="Whether it holds.")]
    observed_generation: Annotated[
        ObservedGeneration, Field(description="The metadata.generation that the observation is of.")
    ]
    last_transition_time: Annotated[datetime, Field(description="When the status last changed.")]
    reason: Annotated[
        str,
        Field(
            min_length=1,
            max_length=64,
            pattern=r"^[A-Z][A-Za-z0-9]*$",
            description="Why, in one word; docs/reference/reasons.md lists all.",
        ),
    ]
    message: Annotated[str, Field(max_length=32768, description="The same for a person, with what to do.")] = ""


Conditions = Annotated[
    tuple[Condition, ...],
    Field(
        max_length=16,
        description="Observations; Ready, Reconciling and Stalled follow kstatus.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    ),
]
