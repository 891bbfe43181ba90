"""What a person types for each reason of the table, to see more and to cure it.

`<tenant>`, `<server>`, `<name>`, `<namespace>` and the like are for the reader to fill in. The commands are checked:
each one of `tenantry` must exist with its options, and each `kubectl` must name a verb and a kind that there are.
"""

from typing import Final

from tenantry_crds.reasons import Reason as R

_STATUS: Final = "tenantry tenant status <tenant>"
_SERVER: Final = "kubectl describe databaseserver <server>"
_SERVERS: Final = "kubectl get databaseservers -o wide"
_RELEASE: Final = "kubectl -n <namespace> describe servicedeployment <name>"
_PODS: Final = "kubectl -n <namespace> describe pods -l tenantry.dev/service-deployment=<name>"
_ROUTE: Final = "kubectl -n <namespace> describe httproute <name>"
_LOG: Final = "kubectl -n tenantry-system logs deployment/tenantry-operator --since=10m"
_DOCTOR: Final = "tenantry doctor"
_REPORT: Final = "tenantry tenant report <tenant>"
_SECRET: Final = "kubectl -n tenantry-system describe secret <secret>"  # noqa: S105  a command
_REPAIR: Final = 'kubectl patch tenant <tenant> --type merge -p \'{"spec": {"driftPolicy": "Repair"}}\''
_NEW_VALUE: Final = '{"metadata": {"annotations": {"tenantry.dev/rotate": "<any new value>"}}}'
_ROTATE: Final = f"kubectl patch tenant <tenant> --type merge -p '{_NEW_VALUE}'"
_ACTIVATE: Final = "tenantry tenant resume <tenant>"
_JOB: Final = "kubectl -n tenantry-system logs job/<job> --tail=50"
_RUN: Final = "tenantry migrate status <run>"
_MIGRATE: Final = "tenantry migrate run --to <revision>"
_UNHOLD: Final = 'kubectl patch tenant <tenant> --type merge -p \'{"spec": {"migrations": {"hold": false}}}\''

RUNBOOKS: Final[dict[R, tuple[str, ...]]] = {
    # what holds
    R.RECONCILED: (_STATUS,),
    R.PROVISIONED: (_STATUS, "tenantry tenant psql <tenant>"),
    R.ISSUED: ("tenantry tenant psql <tenant>",),
    R.ACTIVE: (_STATUS,),
    R.SUSPENDED: (_STATUS, _ACTIVATE),
    R.ARCHIVED: (_STATUS, _ACTIVATE),
    R.AT_TARGET: (_STATUS,),
    R.CONNECTED: (_SERVER,),
    R.PRIVILEGES_GRANTED: (_SERVER,),
    R.ROOM_LEFT: (_SERVERS,),
    R.HEALTHY: (_RELEASE,),
    R.MINIMUM_REPLICAS_AVAILABLE: (_RELEASE,),
    R.SCALED_TO_ZERO: ("kubectl -n <namespace> scale servicedeployment <name> --replicas 2",),
    R.REVISION_PROMOTED: (_RELEASE,),
    R.NO_DRIFT: (_STATUS,),
    R.VERIFIED: (_STATUS,),
    R.MIGRATED: (_RUN,),
    R.PLANNED: (_RUN, "tenantry migrate sql --to <revision>", _MIGRATE),
    R.AHEAD_OF_RELEASE: ("tenantry migrate status",),
    # what is under way
    R.PROVISIONING: ("tenantry tenant status <tenant> --wait", _DOCTOR),
    R.MIGRATING: (_RUN,),
    R.WAITING_FOR_RUN: ("tenantry migrate status", "kubectl delete migrationrun <run>"),
    R.SUSPENDING: (_STATUS, _LOG),
    R.RESUMING: (_STATUS, _LOG),
    R.DELETING: (_STATUS, _LOG),
    R.BACKING_UP: (_STATUS, _JOB),
    R.RETRYING: (_STATUS, _LOG),
    R.WAITING_FOR_REPLICAS: (_PODS,),
    R.WAITING_FOR_ROUTE: (_ROUTE,),
    R.DRAINING: (_RELEASE,),
    # what a person has to cure
    R.NOT_OURS: (_STATUS, "tenantry plan -f <file>"),
    R.DATA_MISSING: (_REPORT, _SERVER),
    R.PROTECTED: (
        'kubectl patch tenant <tenant> --type merge -p \'{"spec": {"deletionProtection": "Disabled"}}\'',
        "kubectl delete tenant <tenant>",
    ),
    R.BACKUP_FAILED: (
        _JOB,
        "kubectl -n tenantry-system describe pods -l tenantry.dev/tenant=<tenant>",
        "kubectl -n tenantry-system get persistentvolumeclaims",
        'kubectl patch tenant <tenant> --type merge -p \'{"spec": {"deletionPolicy": "Retain"}}\'',
    ),
    R.MIGRATION_FAILED: (_STATUS, _LOG),
    R.SERVER_NOT_FOUND: (_SERVERS, "kubectl apply -f <databaseserver.yaml>"),
    R.NO_DEFAULT_SERVER: (
        _SERVERS,
        'kubectl patch databaseserver <server> --type merge -p \'{"spec": {"default": true}}\'',
    ),
    R.NO_SERVER_READY: (_SERVERS, _SERVER),
    R.NO_CAPACITY: (
        _SERVERS,
        'kubectl patch databaseserver <server> --type merge -p \'{"spec": {"limits": {"tenants": <number>}}}\'',
        "kubectl apply -f <databaseserver.yaml>",
    ),
    R.SERVER_UNREACHABLE: (_SERVER, _DOCTOR),
    R.IN_USE: ("tenantry tenant list --server <server>",),
    R.INVALID_SPEC: (_STATUS, "tenantry plan -f <file>", "tenantry version"),
    R.NOT_REACHABLE: (_SERVER, "psql -h <host> -p <port> -U <user> -d <database> -c 'SELECT 1'"),
    R.NAME_NOT_RESOLVED: (_SERVER, "kubectl -n tenantry-system get services"),
    R.AUTHENTICATION_FAILED: (
        "kubectl -n tenantry-system create secret generic <secret> --from-literal=username=<user> "
        "--from-literal=password=<password> --dry-run=client -o yaml | kubectl apply -f -",
        _SERVER,
    ),
    R.TLS_FAILED: (_SERVER, _SECRET),
    R.DATABASE_MISSING: ("psql -h <host> -U <administrator> -d postgres -c 'CREATE DATABASE <database> OWNER <user>'",),
    R.CREDENTIALS_MISSING: (
        "kubectl -n tenantry-system create secret generic <secret> --from-literal=username=<user> "
        "--from-literal=password=<password>",
        _SERVER,
    ),
    R.TOO_MANY_CONNECTIONS: (
        "psql -h <host> -U <administrator> -d postgres -c 'SELECT usename, count(*) FROM pg_stat_activity GROUP BY 1'",
        "psql -h <host> -U <administrator> -d postgres -c 'SHOW max_connections'",
    ),
    R.CONNECTIONS_IN_USE: (
        _SERVER,
        'kubectl patch databaseserver <server> --type merge -p \'{"spec": {"limits": {"operatorConnections": 16}}}\'',
    ),
    R.VERSION_UNSUPPORTED: ("psql -h <host> -U <user> -d <database> -c 'SHOW server_version'",),
    R.PRIVILEGES_MISSING: (
        _SERVER,
        "psql -h <host> -U <administrator> -d <database> -c 'GRANT pg_signal_backend TO <user>'",
    ),
    R.REGISTRY_UNAVAILABLE: (_DOCTOR, "kubectl -n tenantry-system get configmap tenantry-registry -o yaml"),
    R.DATABASE_ERROR: (_STATUS, _SERVER, _LOG),
    R.KUBERNETES_ERROR: (_LOG, _DOCTOR),
    R.INVALID_TEMPLATE: (_RELEASE, "kubectl -n <namespace> edit servicedeployment <name>"),
    R.PROGRESS_DEADLINE_EXCEEDED: (_PODS, "kubectl -n <namespace> edit servicedeployment <name>"),
    R.MINIMUM_REPLICAS_UNAVAILABLE: (_PODS,),
    R.GATEWAY_NOT_FOUND: ("kubectl get gateways --all-namespaces",),
    R.ROUTE_NOT_ACCEPTED: (_ROUTE, "kubectl describe gateways --all-namespaces"),
    R.ROUTE_REFS_NOT_RESOLVED: (_ROUTE, "kubectl -n <namespace> get services"),
    R.DRIFTED: (_STATUS, _REPAIR),
    R.DRIFT_BREAKS_ISOLATION: (_STATUS, _REPAIR),
    R.DRIFT_BREAKS_TENANT: (_STATUS, _REPAIR),
    R.ISOLATION_BROKEN: (_STATUS, _REPORT, "psql -h <host> -U <administrator> -d <database> -c '<statement>'"),
    R.LOG_IN_REFUSED: (_STATUS, _ROTATE),
    R.BEHIND: (_MIGRATE,),
    R.HELD: (_UNHOLD, _MIGRATE),
    R.TENANTS_BEHIND: (_RUN, _MIGRATE),
    R.TENANTS_HELD: (_RUN, _UNHOLD),
    R.FAILURE_BUDGET_EXCEEDED: ("kubectl get migrationrun <run> -o yaml", _MIGRATE),
    R.CRD_TERMINATING: (
        "tenantry uninstall --orphan",
        "kubectl -n tenantry-system scale deployment tenantry-operator --replicas 0",
        "tenantry uninstall --orphan --execute",
    ),
    R.BREAKER_OPEN: ("tenantry breaker status", "tenantry breaker reset", "tenantry breaker reset --approve"),
    R.LOCKED: (_STATUS,),
    R.OBJECTS_LEFT: (_STATUS, _LOG),
    # events only
    R.UPDATED: (_STATUS,),
    R.ROTATED: (_STATUS, "kubectl get tenants"),
    R.RETIRED: (_STATUS,),
    R.SECRET_LOST: (_STATUS, "kubectl get events --field-selector reason=SecretLost"),
    R.REPAIRED: (_STATUS, "kubectl get events --field-selector reason=Repaired"),
    R.ADOPTED: (_STATUS,),
    R.RELEASED: ("tenantry plan -f <file>",),
    R.DELETED: ("tenantry tenant list",),
    R.FORCE_FINALIZED: ("kubectl get events --field-selector reason=ForceFinalized",),
    R.FORCE_FINALIZE_REFUSED: ("kubectl get tenant <tenant> -o yaml",),
    R.BACKED_UP: ("tenantry tenant restore <tenant> --from <place>",),
    R.RESUMED: (_STATUS,),
    R.EXTENSION_UNAVAILABLE: (_STATUS, "psql -c 'SELECT * FROM pg_available_extensions'"),
    R.NAMESPACE_TERMINATING: (_STATUS, "kubectl describe namespace <namespace>"),
    R.CRD_OUTDATED: (_DOCTOR, "helm upgrade --install tenantry-crds charts/tenantry-crds -n tenantry-system"),
}
"""A reason to the commands, in the order in which they are typed."""
