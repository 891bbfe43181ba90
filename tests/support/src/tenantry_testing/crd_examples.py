"""Objects of the API for tests, and for each CEL rule one change that it accepts and one that it refuses."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

from pydantic import JsonValue

from tenantry_crds.names import API_VERSION

Body = dict[str, JsonValue]

BACKUP: Body = {"destination": {"volume": {"claimName": "backups"}}}
BUCKET: Body = {
    "endpoint": "https://s3.example.com",
    "bucket": "acme-backups",
    "prefix": "tenants/eu",
    "credentialsSecretRef": {"name": "bucket"},
    "caSecretRef": {"name": "bucket"},
}
CANARY: Body = {"matchLabels": {"tier": "canary"}}

SPECS: Mapping[str, Body] = {
    "Tenant": {"displayName": "Acme Ltd", "isolation": "Schema"},
    "DatabaseServer": {"host": "db.example.com", "database": "app", "credentialsSecretRef": {"name": "operator"}},
    "MigrationRun": {"to": "t0001", "phase": "expand"},
    "ServiceDeployment": {
        "replicas": 1,
        "template": {"spec": {"containers": [{"name": "app", "image": "example.com/app:1"}]}},
        "service": {"port": 8000, "appProtocol": "http"},
    },
}


def example(kind: str, name: str, **changes: JsonValue) -> Body:
    """Return an object that the API server takes, with fields of the spec changed; None removes one."""
    spec = {**deepcopy(SPECS[kind]), **changes}
    metadata: Body = {"name": name}
    if kind == "ServiceDeployment":
        metadata["namespace"] = "default"
    kept: Body = {key: value for key, value in spec.items() if value is not None}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": kept}


@dataclass(frozen=True)
class RuleExample:
    """The rule of that name accepts one object and refuses the other; both are changes of `before` if there is one.

    `field` is the path that the refusal names.
    """

    rule: str
    field: str
    accepted: Body
    refused: Body
    before: Body | None = None


def _bound(role: str = "edit", **subject: JsonValue) -> Body:
    return {"roleBindings": [{"role": role, "subjects": [subject]}]}


def _reached(**endpoints: JsonValue) -> Body:
    return example("DatabaseServer", "endpoint-rule", endpoints=endpoints)


def _without(body: Body, name: str) -> Body:
    """Say of a field that it is to be removed: what `apply` does not find in an object, it leaves."""
    spec = body["spec"]
    return {**body, "spec": {**(spec if isinstance(spec, dict) else {}), name: None}}


RULE_EXAMPLES: tuple[RuleExample, ...] = (
    RuleExample(
        rule="tenant-name",
        field="metadata.name",
        accepted=example("Tenant", "a" * 39),
        refused=example("Tenant", "a" * 40),
    ),
    RuleExample(
        rule="tenant-name-is-not-the-systems",
        field="metadata.name",
        accepted=example("Tenant", "tenant"),
        refused=example("Tenant", "tenantry-acme"),
    ),
    RuleExample(
        rule="tenant-pooled-moves-with-the-pool",
        field="spec.migrations",
        accepted=example("Tenant", "pooled-rule", isolation="Pooled"),
        refused=example("Tenant", "pooled-rule-two", isolation="Pooled", migrations={"wave": 1}),
    ),
    RuleExample(
        rule="tenant-pooled-has-no-read-only-role",
        field="spec.database.readOnlyRole",
        accepted=example("Tenant", "pooled-reader", isolation="Pooled", database={"readOnlyRole": "Disabled"}),
        refused=example("Tenant", "pooled-reader-two", isolation="Pooled", database={"readOnlyRole": "Enabled"}),
    ),
    RuleExample(
        rule="tenant-isolation-is-immutable",
        field="spec.isolation",
        before=example("Tenant", "isolation-rule"),
        accepted=example("Tenant", "isolation-rule", displayName="Acme Limited"),
        refused=example("Tenant", "isolation-rule", isolation="Database"),
    ),
    RuleExample(
        rule="tenant-server-is-immutable",
        field="spec.databaseServer",
        before=example("Tenant", "server-rule", databaseServer="primary"),
        accepted=example("Tenant", "server-rule", databaseServer="primary", displayName="Acme Limited"),
        refused=example("Tenant", "server-rule", databaseServer="other"),
    ),
    RuleExample(
        rule="tenant-secret-is-not-the-systems",
        field="spec.credentials.secretName",
        accepted=example("Tenant", "secret-rule", credentials={"secretName": "acme-postgres"}),
        refused=example("Tenant", "secret-rule", credentials={"secretName": "tenantry-accounts-database-primary"}),
    ),
    RuleExample(
        rule="tenant-namespace-is-not-removed",
        field="spec.namespace",
        before=example("Tenant", "namespace-kept", namespace={"name": "kept"}),
        accepted=example("Tenant", "namespace-kept", namespace={"name": "kept", "podSecurity": "baseline"}),
        refused=_without(example("Tenant", "namespace-kept"), "namespace"),
    ),
    RuleExample(
        rule="tenant-namespace-name-is-immutable",
        field="spec.namespace.name",
        before=example("Tenant", "namespace-rule", namespace={"quota": {"pods": "5"}}),
        accepted=example("Tenant", "namespace-rule", namespace={"quota": {"pods": "6"}}),
        refused=example("Tenant", "namespace-rule", namespace={"name": "other", "quota": {"pods": "5"}}),
    ),
    RuleExample(
        rule="tenant-backup-has-a-destination",
        field="spec.backup",
        accepted=example("Tenant", "backup-rule", deletionPolicy="BackupThenDelete", backup=BACKUP),
        refused=example("Tenant", "backup-rule", deletionPolicy="BackupThenDelete"),
    ),
    RuleExample(
        rule="tenant-backup-goes-to-one-place",
        field="spec.backup.destination.volume",
        accepted=example("Tenant", "place-rule", backup={"destination": {"s3": BUCKET}}),
        refused=example(
            "Tenant", "place-rule", backup={"destination": {"s3": BUCKET, "volume": {"claimName": "backups"}}}
        ),
    ),
    RuleExample(
        rule="tenant-bucket-ca-is-checked",
        field="spec.backup.destination.s3.caSecretRef",
        accepted=example("Tenant", "bucket-rule", backup={"destination": {"s3": BUCKET}}),
        refused=example(
            "Tenant", "bucket-rule", backup={"destination": {"s3": {**BUCKET, "endpoint": "http://s3.example.com"}}}
        ),
    ),
    RuleExample(
        rule="tenant-namespace-is-not-the-systems",
        field="spec.namespace.name",
        accepted=example("Tenant", "namespace-name", namespace={"name": "acme-eu"}),
        refused=example("Tenant", "namespace-name", namespace={"name": "kube-acme"}),
    ),
    RuleExample(
        rule="tenant-subject-has-a-namespace-only-as-a-service-account",
        field="spec.namespace.roleBindings[0].subjects[0].namespace",
        accepted=example("Tenant", "subject-rule", namespace=_bound(kind="ServiceAccount", name="ci", namespace="ci")),
        refused=example("Tenant", "subject-rule", namespace=_bound(kind="User", name="jane", namespace="ci")),
    ),
    RuleExample(
        rule="tenant-rotation-interval",
        field="spec.credentials.rotation.interval",
        accepted=example("Tenant", "interval-rule", credentials={"rotation": {"interval": "0s"}}),
        refused=example("Tenant", "interval-rule", credentials={"rotation": {"interval": "59s"}}),
    ),
    RuleExample(
        rule="tenant-rotation-overlap",
        field="spec.credentials.rotation.overlap",
        accepted=example("Tenant", "overlap-rule", credentials={"rotation": {"overlap": "1h30m"}}),
        refused=example("Tenant", "overlap-rule", credentials={"rotation": {"overlap": "720h1s"}}),
    ),
    RuleExample(
        rule="tenant-template-keys",
        field="spec.credentials.template",
        accepted=example("Tenant", "keys-rule", credentials={"template": {"app.DSN": "{uri}"}}),
        refused=example("Tenant", "keys-rule", credentials={"template": {"app/DSN": "{uri}"}}),
    ),
    RuleExample(
        rule="tenant-template-leaves-the-binding",
        field="spec.credentials.template",
        accepted=example("Tenant", "binding-rule", credentials={"template": {"URI": "{uri}"}}),
        refused=example("Tenant", "binding-rule", credentials={"template": {"uri": "{host}"}}),
    ),
    RuleExample(
        rule="server-name",
        field="metadata.name",
        accepted=example("DatabaseServer", "primary"),
        refused=example("DatabaseServer", "primary.example.com"),
    ),
    RuleExample(
        rule="server-ca-is-checked",
        field="spec.tls.caSecretRef",
        accepted=example("DatabaseServer", "ca-rule", tls={"caSecretRef": {"name": "ca"}}),
        refused=example("DatabaseServer", "ca-rule", tls={"mode": "require", "caSecretRef": {"name": "ca"}}),
    ),
    RuleExample(
        rule="server-replicas-differ",
        field="spec.endpoints.replicas",
        accepted=_reached(replicas=[{"host": "b"}, {"host": "b", "port": 5433}]),
        refused=_reached(replicas=[{"host": "b"}, {"host": "b", "port": 5432}]),
    ),
    RuleExample(
        rule="server-replica-is-not-the-primary",
        field="spec.endpoints.replicas",
        accepted=_reached(primary={"host": "a"}, replicas=[{"host": "b"}]),
        refused=_reached(primary={"host": "a"}, replicas=[{"host": "b"}, {"host": "a", "port": 5432}]),
    ),
    RuleExample(
        rule="server-pooler-is-not-the-primary",
        field="spec.endpoints.pooler",
        accepted=_reached(primary={"host": "a"}, pooler={"host": "a", "port": 6432, "mode": "Session"}),
        refused=_reached(primary={"host": "a", "port": 6432}, pooler={"host": "a", "port": 6432}),
    ),
    RuleExample(
        rule="run-spec-is-immutable",
        field="spec",
        before=example("MigrationRun", "run-rule", failureBudget=1),
        accepted=example("MigrationRun", "run-rule", failureBudget=1),
        refused=example("MigrationRun", "run-rule", failureBudget=2),
    ),
    RuleExample(
        rule="wave-has-one-choice",
        field="spec.waves[0].percent",
        accepted=example("MigrationRun", "choice-rule", waves=[{"percent": 10}, {"selector": CANARY}]),
        refused=example("MigrationRun", "choice-rule", waves=[{"percent": 10, "selector": CANARY}]),
    ),
    RuleExample(
        rule="wave-of-the-rest-is-last",
        field="spec.waves",
        accepted=example("MigrationRun", "rest-rule", waves=[{"percent": 10}, {"maxParallel": 8}]),
        refused=example("MigrationRun", "rest-rule", waves=[{"maxParallel": 8}, {"percent": 10}]),
    ),
    RuleExample(
        rule="wave-percents-fit",
        field="spec.waves",
        accepted=example("MigrationRun", "percent-rule", waves=[{"percent": 40}, {"percent": 60}]),
        refused=example("MigrationRun", "percent-rule", waves=[{"percent": 40}, {"percent": 61}]),
    ),
    RuleExample(
        rule="service-name",
        field="metadata.name",
        accepted=example("ServiceDeployment", "a" * 40),
        refused=example("ServiceDeployment", "a" * 41),
    ),
)


_JANE: tuple[JsonValue, ...] = ({"role": "edit", "subjects": [{"kind": "User", "name": "jane"}]},)


@dataclass(frozen=True)
class BadInput:
    """An object that the API server refuses by the schema alone, and the field that it names."""

    what: str
    field: str
    body: Body


def _template(**container: JsonValue) -> Body:
    return {"spec": {"containers": [{"name": "app", "image": "example.com/app:1", **container}]}}


BAD_INPUTS: tuple[BadInput, ...] = (
    BadInput("name-with-capitals", "metadata.name", example("Tenant", "Acme")),
    BadInput("name-with-underscore", "metadata.name", example("Tenant", "ac_me")),
    BadInput("name-starts-with-digit", "metadata.name", example("Tenant", "1acme")),
    BadInput("name-with-dot", "metadata.name", example("Tenant", "acme.eu")),
    BadInput("unknown-isolation", "spec.isolation", example("Tenant", "acme", isolation="Galaxy")),
    BadInput("isolation-missing", "spec.isolation", example("Tenant", "acme", isolation=None)),
    BadInput("display-name-missing", "spec.displayName", example("Tenant", "acme", displayName=None)),
    BadInput("display-name-of-300", "spec.displayName", example("Tenant", "acme", displayName="x" * 300)),
    BadInput("display-name-empty", "spec.displayName", example("Tenant", "acme", displayName="")),
    BadInput("display-name-with-nul", "spec.displayName", example("Tenant", "acme", displayName="a\0b")),
    BadInput("display-name-a-number", "spec.displayName", example("Tenant", "acme", displayName=7)),
    BadInput("unknown-field", "spec.colour", example("Tenant", "acme", colour="red")),
    BadInput(
        "unknown-setting",
        "spec.database.settings.fsync",
        example("Tenant", "acme", database={"settings": {"fsync": "off"}}),
    ),
    BadInput(
        "setting-out-of-range",
        "spec.database.settings.statement_timeout",
        example("Tenant", "acme", database={"settings": {"statement_timeout": "9999999h"}}),
    ),
    BadInput(
        "setting-with-a-quote",
        "spec.database.settings.work_mem",
        example("Tenant", "acme", database={"settings": {"work_mem": "1MB'; DROP"}}),
    ),
    BadInput(
        "connection-limit-zero",
        "spec.database.connectionLimit",
        example("Tenant", "acme", database={"connectionLimit": 0}),
    ),
    BadInput("adoption-unknown", "spec.adoptionPolicy", example("Tenant", "acme", adoptionPolicy="Always")),
    BadInput("policy-unknown", "spec.deletionPolicy", example("Tenant", "acme", deletionPolicy="Burn")),
    BadInput(
        "secret-name-wrong",
        "spec.credentials.secretName",
        example("Tenant", "acme", credentials={"secretName": "../etc"}),
    ),
    BadInput(
        "namespace-role-outside-the-list",
        "spec.namespace.roleBindings[0].role",
        example("Tenant", "acme", namespace=_bound("cluster-admin", kind="User", name="jane")),
    ),
    BadInput(
        "namespace-role-twice",
        "spec.namespace.roleBindings[1]",
        example("Tenant", "acme", namespace={"roleBindings": [*_JANE, *_JANE]}),
    ),
    BadInput("namespace-name-wrong", "spec.namespace.name", example("Tenant", "acme", namespace={"name": "a.b"})),
    BadInput(
        "quota-negative", "spec.namespace.quota.pods", example("Tenant", "acme", namespace={"quota": {"pods": "-1"}})
    ),
    BadInput(
        "quota-too-large",
        "spec.namespace.quota.requests.memory",
        example("Tenant", "acme", namespace={"quota": {"requests.memory": "9000Pi"}}),
    ),
    BadInput(
        "pod-security-unknown",
        "spec.namespace.podSecurity",
        example("Tenant", "acme", namespace={"podSecurity": "strict"}),
    ),
    BadInput(
        "overlap-no-duration",
        "spec.credentials.rotation.overlap",
        example("Tenant", "acme", credentials={"rotation": {"overlap": "soon"}}),
    ),
    BadInput(
        "interval-a-number",
        "spec.credentials.rotation.interval",
        example("Tenant", "acme", credentials={"rotation": {"interval": 720}}),
    ),
    BadInput(
        "template-unknown-placeholder",
        "spec.credentials.template.DSN",
        example("Tenant", "acme", credentials={"template": {"DSN": "{user}@{host}"}}),
    ),
    BadInput(
        "template-lonely-brace",
        "spec.credentials.template.DSN",
        example("Tenant", "acme", credentials={"template": {"DSN": "{{host}}"}}),
    ),
    BadInput("host-list", "spec.host", example("DatabaseServer", "primary", host="a.example.com,b.example.com")),
    BadInput("host-socket", "spec.host", example("DatabaseServer", "primary", host="/var/run/postgresql")),
    BadInput("pooler-mode-unknown", "spec.endpoints.pooler.mode", _reached(pooler={"host": "a", "mode": "Statement"})),
    BadInput("replica-list", "spec.endpoints.replicas[0].host", _reached(replicas=[{"host": "a,b"}])),
    BadInput("replicas-none", "spec.endpoints.replicas", _reached(replicas=[])),
    BadInput("tenants-negative", "spec.limits.tenants", example("DatabaseServer", "p", limits={"tenants": -1})),
    BadInput("port-too-large", "spec.port", example("DatabaseServer", "primary", port=70000)),
    BadInput("tls-unknown", "spec.tls.mode", example("DatabaseServer", "primary", tls={"mode": "maybe"})),
    BadInput("log-in-missing", "spec.credentialsSecretRef", example("DatabaseServer", "p", credentialsSecretRef=None)),
    BadInput("wave-zero", "spec.migrations.wave", example("Tenant", "acme", migrations={"wave": 0})),
    BadInput("run-phase-unknown", "spec.phase", example("MigrationRun", "run", phase="explode")),
    BadInput("run-without-a-revision", "spec.to", example("MigrationRun", "run", to=None)),
    BadInput("run-waits-for-ever", "spec.lockTimeout", example("MigrationRun", "run", lockTimeout="0")),
    BadInput("replicas-negative", "spec.replicas", example("ServiceDeployment", "web", replicas=-1)),
    BadInput(
        "no-containers",
        "spec.template.spec.containers",
        example("ServiceDeployment", "web", template={"spec": {"containers": []}}),
    ),
    BadInput(
        "image-missing",
        "spec.template.spec.containers[0].image",
        example("ServiceDeployment", "web", template={"spec": {"containers": [{"name": "app"}]}}),
    ),
    BadInput("strategy-unknown", "spec.strategy.type", example("ServiceDeployment", "web", strategy={"type": "Magic"})),
    BadInput(
        "drain-too-long",
        "spec.traffic.drainSeconds",
        example("ServiceDeployment", "web", traffic={"drainSeconds": 3601}),
    ),
    BadInput(
        "path-relative",
        "spec.traffic.gateway.pathPrefix",
        example("ServiceDeployment", "web", traffic={"gateway": {"name": "public", "pathPrefix": "v1"}}),
    ),
)

# Fields of pods that the models do not know, and that have to pass unharmed.
FUTURE_TEMPLATE = _template(lifecycle={"preStop": {"sleep": {"seconds": 5}}}, fieldOfTomorrow={"deep": [1, "two"]})
