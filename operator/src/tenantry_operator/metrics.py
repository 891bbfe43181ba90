"""What the operator tells Prometheus about itself."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

PASS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

LABELS: Final[Mapping[str, str]] = {
    "kind": "Tenant, DatabaseServer, MigrationRun, ServiceDeployment; of objects and of the watch also what belongs to "
    "them",
    "outcome": "how it ended: `ok` or `done`, `failed`, of a check `held` or `broken`, and what else the metric tells",
    "error": "what stood in the way: a [reason](reasons.md) of a condition, the word for a failed request (Conflict, "
    "NotFound, Invalid, Forbidden, Gone, ApiUnreachable, ApiError), FenceError, RegistryBehind, NotLeading, Timeout, "
    "or Unexpected, which is a bug",
    "action": "an action of a plan, as `tenantry plan` prints it",
    "state": "done, failed, held, or waiting",
    "method": "the HTTP method",
    "status": "the HTTP status, or the status of the condition: True, False, Unknown",
    "condition": "a type of condition",
    "crd": "a definition of ours",
    "check": "`catalogue` or `log-in`",
    "hole": "a kind of way between tenants, as `View` or `Trial`, or the action that would close it",
    "credentials_ready": "the status of CredentialsReady: True, False, Unknown",
}
"""The values that a label may have. None of them is the name of a Tenant: there may be ten thousand."""

Objects = Callable[[], Iterable[tuple[str, Iterable[Mapping[str, Any]]]]]
"""Yields each kind with all its objects."""


@dataclass(frozen=True)
class Described:
    """One metric for its page."""

    name: str
    type: str
    text: str
    labels: tuple[str, ...]


class Metrics:
    """All metrics of one operator process, in a registry of their own, under ``tenantry_``."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.described: list[Described] = list(OF_OBJECTS)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.passes = self._counter("reconcile_total", "Passes over one object, by how they ended.", "kind", "outcome")
        self.errors = self._counter("errors_total", "Passes that something stood in the way of.", "kind", "error")
        self.pass_seconds = self._histogram("reconcile_seconds", "Duration of a pass.", "kind")
        self.wait_seconds = self._histogram("queue_wait_seconds", "From due to begun.", "kind")
        self.actions = self._counter("actions_total", "Actions of plans, by outcome.", "kind", "action", "outcome")
        self.drift_found = self._counter("drift_found_total", "Changes by hand, by what undoes them.", "action")
        self.drift_repaired = self._counter("drift_repaired_total", "Changes by hand that were undone.", "action")
        self.isolation_checks = self._counter(
            "isolation_checks_total", "Checks of a tenant's isolation, by what came of them.", "check", "outcome"
        )
        self.isolation_checked = self._gauge("isolation_checked_timestamp_seconds", "When a check last ran.", "check")
        self.isolation_holes = self._counter("isolation_holes_total", "Ways between tenants, by what they are.", "hole")
        self.migrations = self._counter(
            "tenant_migrations_total", "Attempts of MigrationRuns to move a tenant, by outcome.", "outcome"
        )
        self.run_tenants = self._gauge("migration_run_tenants", "Tenants of the latest MigrationRun.", "state")
        self.rotations = self._counter("rotations_total", "Steps of credential rotations, by outcome.", "outcome")
        self.secrets_lost = self._counter("secrets_lost_total", "Secrets of Tenants that were gone.")
        self.queue_depth = self._gauge("queue_depth", "Objects that are due and wait for a worker.")
        self.queue_oldest = self._gauge("queue_oldest_seconds", "Wait of the object that is due for longest.")
        self.queue_failing = self._gauge("queue_failing", "Objects whose last pass failed.")
        self.sweeps = self._counter("sweep_total", "Sweeps, by how they ended.", "kind", "outcome")
        self.sweep_found = self._counter("sweep_found_total", "Objects that a sweep found to differ.", "kind")
        self.sweep_seconds = self._gauge("sweep_seconds", "Duration of the last sweep.", "kind")
        self.watch_events = self._counter("watch_events_total", "Watch events.", "kind")
        self.watch_missed = self._counter("watch_missed_total", "Changes the watch did not bring.", "kind")
        self.watch_restarts = self._counter("watch_restarts_total", "How often the watch was started anew.")
        self.requests = self._counter("api_requests_total", "Requests to the API server.", "method", "status")
        self.crd_outdated = self._gauge("crd_outdated", "1 for a definition that is older than this operator.", "crd")
        self.breaker_open = self._gauge("breaker_open", "1 while the breaker lets no data be dropped.")
        self.breaker_drops = self._counter("breaker_drops_total", "Drops of a Tenant's data that were begun.")
        self.breaker_held = self._counter("breaker_held_total", "Drops that the breaker did not let begin.")
        self.leader = self._gauge("leader", "1 while this process leads.")

    def observe_objects(self, objects: Objects) -> None:
        """Count objects by condition at each scrape; call it once."""
        self.registry.register(_ConditionCollector(objects))

    def render(self) -> bytes:
        """Return the text exposition format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        self._describe(name, "counter", text, labels=labels)
        return Counter(f"tenantry_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        self._describe(name, "gauge", text, labels=labels)
        return Gauge(f"tenantry_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        self._describe(name, "histogram", text, labels=labels)
        return Histogram(f"tenantry_{name}", text, labels, buckets=PASS_BUCKETS, registry=self.registry)

    def _describe(self, name: str, kind: str, text: str, *, labels: tuple[str, ...]) -> None:
        self.described.append(Described(f"tenantry_{name}", kind, text, labels))


OBJECTS: Final = Described("tenantry_objects", "gauge", "Objects.", ("kind",))
CONDITIONS: Final = Described(
    "tenantry_conditions", "gauge", "Objects by condition and its status.", ("kind", "condition", "status")
)
OLDEST_ROTATION: Final = Described(
    "tenantry_oldest_rotation_timestamp_seconds",
    "gauge",
    "When the credentials that were not replaced for longest were made, by the status of CredentialsReady.",
    ("credentials_ready",),
)
OF_OBJECTS: Final = (OBJECTS, CONDITIONS, OLDEST_ROTATION)
"""What is counted at each scrape."""


def _family(about: Described) -> GaugeMetricFamily:
    return GaugeMetricFamily(about.name, about.text, labels=about.labels)


class _ConditionCollector:
    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def collect(self) -> Iterator[Metric]:
        objects, conditions, oldest = map(_family, OF_OBJECTS)
        for kind, held in self._objects():
            rotated: dict[str, float] = {}
            counts: dict[tuple[str, str], int] = {}
            total = 0
            for obj in held:
                total += 1
                _note_rotation(obj.get("status", {}), rotated)
                for condition in obj.get("status", {}).get("conditions") or []:
                    labels = (condition["type"], condition["status"])
                    counts[labels] = counts.get(labels, 0) + 1
            objects.add_metric([kind], total)
            for (condition_type, status), count in sorted(counts.items()):
                conditions.add_metric([kind, condition_type, status], count)
            for status, moment in sorted(rotated.items()):
                oldest.add_metric([status], moment)
        yield objects
        yield conditions
        yield oldest


def _note_rotation(status: Mapping[str, Any], oldest: dict[str, float]) -> None:
    """Keep the time of the oldest rotation of those that are in the same state."""
    said = (status.get("credentials") or {}).get("rotatedAt")
    if said is None:
        return
    ready = next(
        (one["status"] for one in status.get("conditions") or [] if one["type"] == "CredentialsReady"), "Unknown"
    )
    moment = datetime.fromisoformat(said).timestamp()
    oldest[ready] = min(moment, oldest.get(ready, moment))
