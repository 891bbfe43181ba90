"""The MigrationRun: one move of all tenants' schemas to a revision, wave by wave."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from tenantry_crds.base import KubeObject, ObservedGeneration, Part, Rule
from tenantry_crds.conditions import Conditions

REVISION = r"^[a-z0-9][a-z0-9_]*$"
# Never 0: a step that waits for a lock without an end keeps everybody else from the table meanwhile.
LOCK_TIMEOUT = r"^([1-9][0-9]{0,4}ms|([1-9]|[1-5][0-9])s)$"
FAILURES_SHOWN = 20


class MigrationPhase(StrEnum):
    EXPAND = "expand"
    CONTRACT = "contract"


class MigrationRunPhase(StrEnum):
    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    PLANNED = "Planned"


class TenantSelector(Part):
    """Which Tenants, by their labels."""

    match_labels: Annotated[
        dict[str, Annotated[str, Field(max_length=63)]],
        Field(max_length=16, description="Labels that a Tenant must have, all of them."),
    ]


class MigrationWave(Part):
    """One wave: some of the tenants, and how many of them at once."""

    selector: Annotated[
        TenantSelector | None, Field(description="Takes the Tenants with these labels that no earlier wave took.")
    ] = None
    percent: Annotated[
        int | None,
        Field(
            ge=1,
            le=100,
            description="Takes so many of 100 Tenants that neither their own migrations.wave nor a selector put into "
            "a wave. The choice is by a hash of the tenant's id, so that it is always the same.",
        ),
    ] = None
    max_parallel: Annotated[
        int | None,
        Field(
            ge=1,
            le=100,
            description="Tenants that are moved at the same time; of one DatabaseServer never more than its "
            "limits.operatorConnections leave. Absent: 4.",
        ),
    ] = None

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="wave-has-one-choice",
            rule="!(has(self.selector) && has(self.percent))",
            message="a wave is chosen by selector or by percent, not by both",
            field_path=".percent",
        ),
    )


class MigrationRunSpec(Part):
    """What is wanted. It cannot be changed."""

    to: Annotated[
        str,
        Field(min_length=1, max_length=64, pattern=REVISION, description="The revision of the tenant history."),
    ]
    phase: Annotated[
        MigrationPhase,
        Field(
            description="What the revisions up to `to` that are not released yet must declare. expand: they only add. "
            "contract: they take away what no tenant needs any more."
        ),
    ]
    waves: Annotated[
        tuple[MigrationWave, ...] | None,
        Field(
            max_length=16,
            description="The order. Whom no wave takes comes last, in a wave of his own, unless the last wave here has "
            "neither selector nor percent: then that one takes the rest. Absent: all in one wave.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = None
    failure_budget: Annotated[
        int | None,
        Field(ge=0, le=100000, description="Tenants that may fail; one more stops the run. Absent: 0."),
    ] = None
    dry_run: Annotated[
        bool | None, Field(description="Only count who would be moved in which wave; change nothing. Absent: false.")
    ] = None
    lock_timeout: Annotated[
        str | None,
        Field(
            max_length=8,
            pattern=LOCK_TIMEOUT,
            description="Longest wait of a step for a lock, as in 500ms or 5s. Whoever uses the table waits behind "
            "it for so long. Absent: 3s.",
        ),
    ] = None

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="wave-of-the-rest-is-last",
            rule="!has(self.waves) || self.waves.filter(w, !has(w.selector) && !has(w.percent)).size() == 0"
            " || (self.waves.filter(w, !has(w.selector) && !has(w.percent)).size() == 1"
            " && !has(self.waves[self.waves.size() - 1].selector) && !has(self.waves[self.waves.size() - 1].percent))",
            message="only the last wave may be without selector and percent: it takes the rest",
            field_path=".waves",
        ),
        Rule(
            name="wave-percents-fit",
            rule="!has(self.waves) || self.waves.map(w, has(w.percent) ? w.percent : 0).sum() <= 100",
            message="the percents of all waves are at most 100 together",
            field_path=".waves",
        ),
    )


class MigrationFailure(Part):
    """A tenant that could not be moved. Its schema is as it was."""

    tenant: Annotated[
        str, Field(max_length=80, description="Name of the Tenant, or tenantry_pool/<server> for the pool of a server.")
    ]
    message: Annotated[str, Field(max_length=512, description="What Postgres said.")]


class MigrationRunStatus(Part):
    """What is observed. The truth is each schema's own version; removing this changes nothing."""

    observed_generation: Annotated[
        ObservedGeneration, Field(description="The metadata.generation that this status is of; -1 before the first.")
    ] = -1
    phase: Annotated[MigrationRunPhase | None, Field(description="A summary for display; use the conditions.")] = None
    wave: Annotated[int | None, Field(ge=0, le=17, description="The wave that is being moved, the first is 1.")] = None
    done: Annotated[int | None, Field(ge=0, le=10**6, description="Tenants that are at `to` or past it.")] = None
    failed: Annotated[int | None, Field(ge=0, le=10**6, description="Tenants that could not be moved.")] = None
    held: Annotated[
        int | None, Field(ge=0, le=10**6, description="Tenants that spec.migrations.hold keeps where they are.")
    ] = None
    total: Annotated[int | None, Field(ge=0, le=10**6, description="Tenants that have a schema.")] = None
    plan_hash: Annotated[
        str | None,
        Field(max_length=64, description="Digest of the SQL up to `to`; `tenantry migrate sql` prints the same one."),
    ] = None
    failures: Annotated[
        tuple[MigrationFailure, ...],
        Field(
            max_length=FAILURES_SHOWN,
            description="The first of the tenants that could not be moved.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["tenant"]},
        ),
    ] = ()
    conditions: Conditions = ()


class MigrationRun(KubeObject):
    """A move of all tenants' schemas of the services to one revision, wave by wave; the oldest run goes first."""

    spec: Annotated[MigrationRunSpec, Field(description="What is wanted. It cannot be changed.")]
    status: Annotated[MigrationRunStatus, Field(description="What is observed.")] = MigrationRunStatus()

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="run-spec-is-immutable",
            rule="self.spec == oldSelf.spec",
            message="a MigrationRun's spec cannot be changed: delete it and make another one",
            field_path=".spec",
        ),
    )
