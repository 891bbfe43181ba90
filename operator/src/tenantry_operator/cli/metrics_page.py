"""The reference page of the operator's metrics, and of what is worth an alert."""

from dataclasses import dataclass
from typing import Final

from tenantry_operator.metrics import LABELS, Metrics


@dataclass(frozen=True)
class Alert:
    """An expression of Prometheus that is true for `lasting` when somebody should look."""

    name: str
    expression: str
    lasting: str
    means: str


ALERTS: Final = (
    Alert(
        "TenantryNobodyLeads",
        "absent(tenantry_leader) or sum(tenantry_leader) == 0",
        "2m",
        "No operator works: nothing is made, repaired or rotated. What serves goes on serving.",
    ),
    Alert(
        "TenantryTenantsNotReady",
        'tenantry_conditions{kind="Tenant",condition="Ready",status="False"} > 0',
        "10m",
        "`tenantry tenant list` names them, `tenantry explain <reason>` says what to type.",
    ),
    Alert(
        "TenantryBreakerIsOpen",
        "max(tenantry_breaker_open) == 1",
        "0m",
        "Many Tenants were deleted at once, and no data is dropped any more: `tenantry breaker status`.",
    ),
    Alert(
        "TenantryErrors",
        "sum by (kind, error) (rate(tenantry_errors_total[10m])) > 0.1",
        "15m",
        "Passes are stopped by the same thing again and again; the label names it.",
    ),
    Alert(
        "TenantryBug",
        'increase(tenantry_errors_total{error="Unexpected"}[1h]) > 0',
        "0m",
        "A pass ended in an error that nobody foresaw; the log has its stack.",
    ),
    Alert(
        "TenantryQueueIsLate",
        "tenantry_queue_oldest_seconds > 60",
        "5m",
        "Objects wait for a worker: a server answers slowly, or `TENANTRY_WORKERS` is too low.",
    ),
    Alert(
        "TenantrySweepFails",
        'sum by (kind) (increase(tenantry_sweep_total{outcome="ok"}[5m])) == 0',
        "5m",
        "What is changed by hand is not noticed. See `tenantry_sweep_total` by outcome, and the log.",
    ),
    Alert(
        "TenantryDrift",
        'tenantry_conditions{kind="Tenant",condition="DriftDetected",status="True"} > 0',
        "15m",
        "Changes by hand are reported and left, or cannot be undone. See `status.drift` of these Tenants.",
    ),
    Alert(
        "TenantryDriftAgainAndAgain",
        "sum(increase(tenantry_drift_repaired_total[1h])) > 20",
        "0m",
        "Somebody or something works against the operator.",
    ),
    Alert(
        "TenantryCredentialsAreOld",
        'time() - tenantry_oldest_rotation_timestamp_seconds{credentials_ready="True"} > 35 * 86400',
        "1h",
        "Credentials are older than the interval of 720h and its overlap; set it to your own interval.",
    ),
    Alert(
        "TenantryRotationFails",
        'increase(tenantry_rotations_total{outcome="failed"}[1h]) > 3',
        "0m",
        "A step of a rotation is refused; CredentialsReady of the Tenants says why.",
    ),
    Alert(
        "TenantryWatchIsBehind",
        "increase(tenantry_watch_missed_total[10m]) > 5 or increase(tenantry_watch_restarts_total[10m]) > 3",
        "10m",
        "Events of the API server are lost; changes are noticed by the sweep only.",
    ),
    Alert(
        "TenantryDefinitionsAreOld",
        "max by (crd) (tenantry_crd_outdated) == 1",
        "10m",
        "The chart `tenantry-crds` is older than the operator: upgrade it.",
    ),
)


def metrics_page(header: str) -> str:
    """Write the page."""
    described = sorted(Metrics().described, key=lambda one: one.name)
    used = sorted({label for one in described for label in one.labels})
    parts = [
        header,
        "# Metrics of the operator\n",
        "Prometheus text at `/metrics` of port 8080. A standby answers too; what it counts is nothing. Beside these "
        "there are those of the process itself (`process_…`, `python_…`). A histogram has `_bucket`, `_sum` and "
        "`_count`.\n",
        "| metric | type | labels | means |",
        "|---|---|---|---|",
        *(f"| `{one.name}` | {one.type} | {_named(one.labels)} | {one.text} |" for one in described),
        "\n## Labels\n",
        "No label holds the name of a Tenant: there may be ten thousand, and each would be a series for ever. "
        "Which Tenants are meant, `tenantry tenant list` and `kubectl get tenants` tell.\n",
        "| label | values |",
        "|---|---|",
        *(f"| `{label}` | {LABELS[label]} |" for label in used),
        "\n## What is worth an alert\n",
        "The chart makes no PrometheusRule: not every cluster has that type. These are for your own.\n",
        "| alert | expression | for | means |",
        "|---|---|---|---|",
        *(f"| {one.name} | `{_cell(one.expression)}` | {one.lasting} | {one.means} |" for one in ALERTS),
    ]
    return "\n".join(parts) + "\n"


def _named(labels: tuple[str, ...]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
