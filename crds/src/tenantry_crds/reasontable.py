"""The one table of condition and event reasons: what each means and what a person does about it."""

from tenantry_crds.conditions import ConditionType as C
from tenantry_crds.reasonentry import Entry
from tenantry_crds.reasons import Reason

_NO_EXTENSION = "An extension that spec.database.extensions names, or no more names, is not ours to make or drop."
_WAIT = "Wait; the operator goes on by itself."
_OPEN = "Nothing; spec.lifecycle Active gives access back."
_CLOSED = (C.READY, C.SUSPENDED, C.CREDENTIALS_READY)
_RELEASING = (C.READY, C.RECONCILING, C.PROGRESSING)

_LOOKED_AT = (
    C.READY, C.DATABASE_READY, C.CREDENTIALS_READY, C.MIGRATIONS_UP_TO_DATE, C.DRIFT_DETECTED,
    C.SUSPENDED, C.NAMESPACE_READY, C.REACHABLE, C.PRIVILEGES_SUFFICIENT, C.CAPACITY_AVAILABLE,
    C.ISOLATION_VERIFIED,
)  # fmt: skip

TABLE: tuple[Entry, ...] = (
    Entry(Reason.RECONCILED, (C.RECONCILING, C.STALLED), "Everything is as the spec wants it; nothing blocks."),
    Entry(Reason.PROVISIONED, (C.READY, C.DATABASE_READY, C.NAMESPACE_READY), "What the spec asks for is in place."),
    Entry(Reason.ACTIVE, (C.SUSPENDED,), "The tenant's login and the services get at its data."),
    Entry(Reason.SUSPENDED, _CLOSED, "By wish nobody gets at the tenant; data, roles and Secret are kept.", _OPEN),
    Entry(Reason.ARCHIVED, _CLOSED, "By wish nobody gets in, and no credentials exist; the data is kept.", _OPEN),
    Entry(Reason.ISSUED, (C.CREDENTIALS_READY,), "The Secret holds a password that the login accepts."),
    Entry(Reason.AT_TARGET, (C.MIGRATIONS_UP_TO_DATE,), "The services' schema has the released revision."),
    Entry(Reason.CONNECTED, (C.READY, C.REACHABLE), "The server answered and the log-in was accepted."),
    Entry(Reason.PRIVILEGES_GRANTED, (C.PRIVILEGES_SUFFICIENT,), "The log-in may do all that the operator does."),
    Entry(Reason.ROOM_LEFT, (C.CAPACITY_AVAILABLE,), "Another tenant may be placed on the server."),
    Entry(Reason.HEALTHY, (C.READY,), "The newest revision serves with all its pods."),
    Entry(Reason.MINIMUM_REPLICAS_AVAILABLE, (C.AVAILABLE,), "The stable revision has ready pods."),
    Entry(Reason.SCALED_TO_ZERO, (C.READY, C.AVAILABLE), "No pods are wanted.", "Raise spec.replicas to serve."),
    Entry(Reason.REVISION_PROMOTED, (C.PROGRESSING,), "The newest revision has become the stable one."),
    Entry(Reason.NO_DRIFT, (C.DRIFT_DETECTED,), "Nothing on the server differs from what the spec asks for."),
    Entry(Reason.VERIFIED, (C.ISOLATION_VERIFIED,), "No way to others is known, by the catalogue or a log-in."),
    Entry(
        Reason.MIGRATED,
        (C.READY,),
        "All tenants but those that are held or failed within the budget are at the revision, and it is released: "
        "new Tenants are made at it.",
    ),
    Entry(
        Reason.PLANNED,
        (C.READY,),
        "A dry run has counted who would be moved in which wave; nothing was changed.",
        "Read the message and `tenantry migrate sql`; make the same MigrationRun without dryRun.",
    ),
    Entry(
        Reason.AHEAD_OF_RELEASE,
        (C.MIGRATIONS_UP_TO_DATE,),
        "A MigrationRun has moved the schema to a revision that is not released yet.",
    ),
    Entry(Reason.PROVISIONING, _LOOKED_AT, "Not all is in place yet.", _WAIT),
    Entry(Reason.SUSPENDING, (C.SUSPENDED,), "Access is to be taken, and not all is taken; Ready says why.", _WAIT),
    Entry(Reason.RESUMING, (C.SUSPENDED,), "Access is to be given back, and is not yet; Ready says why.", _WAIT),
    Entry(Reason.DELETING, (C.READY, C.DELETING), "The object is being deleted.", _WAIT),
    Entry(Reason.RETRYING, (C.RECONCILING,), "The last try failed for a passing cause; the next one follows.", _WAIT),
    Entry(
        Reason.WAITING_FOR_REPLICAS,
        _RELEASING,
        "The gaining revision has not enough ready pods yet.",
        "Wait; if it lasts, `kubectl describe` the pods of the revision.",
    ),
    Entry(
        Reason.WAITING_FOR_ROUTE,
        _RELEASING,
        "The gateway has not yet accepted the route's newest weights.",
        "Wait; if it lasts, look at the HTTPRoute's status and the gateway's log.",
    ),
    Entry(Reason.DRAINING, _RELEASING, "The losing revision finishes its last requests.", _WAIT),
    Entry(Reason.MIGRATING, (C.READY, C.RECONCILING), "The tenants are being moved, wave by wave.", _WAIT),
    Entry(
        Reason.WAITING_FOR_RUN,
        (C.READY, C.RECONCILING),
        "Another MigrationRun is older and not at its end; one goes at a time.",
        "Wait, or delete the other one.",
    ),
    Entry(
        Reason.NAMESPACE_TERMINATING,
        (C.READY, C.CREDENTIALS_READY, C.NAMESPACE_READY, C.DELETING),
        "The tenant's namespace is being deleted; it is waited for, and made anew if the Tenant stays.",
        "Wait; if it lasts, remove what the message names, as objects with finalizers of somebody else.",
    ),
    Entry(Reason.EXTENSION_UNAVAILABLE, (C.READY, C.STALLED), _NO_EXTENSION, "Do what the message says."),
    Entry(
        Reason.BACKING_UP,
        (C.READY, C.DELETING),
        "By BackupThenDelete access is taken; nothing is dropped before the data is dumped, and restored for a trial.",
        "Wait; the Job that the message names tells in its log how far it is.",
    ),
    Entry(
        Reason.NOT_OURS,
        (C.READY, C.STALLED, C.DATABASE_READY, C.CREDENTIALS_READY, C.NAMESPACE_READY, C.DELETING),
        "Something of this name exists and belongs to somebody else, or to another installation; it is left alone.",
        "Choose another name, or remove what is named in the message if it is not needed.",
    ),
    Entry(
        Reason.DATA_MISSING,
        (C.READY, C.STALLED, C.DATABASE_READY, C.DELETING),
        "The registry says that the tenant has data, and the server has none. No empty schema is made in its place.",
        "Check that the DatabaseServer points to the right server and database; restore from a backup.",
    ),
    Entry(
        Reason.PROTECTED,
        (C.READY, C.STALLED, C.DELETING),
        "Deletion was asked for while deletionProtection is Enabled; nothing is dropped.",
        "Set spec.deletionProtection to Disabled to let it go.",
    ),
    Entry(
        Reason.CRD_TERMINATING,
        (C.READY, C.STALLED, C.DELETING),
        "The CRD of Tenants is being deleted, which marks every Tenant for deletion; nothing is dropped.",
        "Run `tenantry uninstall --orphan`: it lets the Tenants go and keeps their data; then install the CRDs again.",
    ),
    Entry(
        Reason.BREAKER_OPEN,
        (C.READY, C.STALLED, C.DELETING),
        "More Tenants were to be dropped within a minute than the breaker allows; no data is dropped any more.",
        "See who they are by `tenantry breaker status`; if it is meant, run `tenantry breaker reset --approve`.",
    ),
    Entry(
        Reason.LOCKED,
        (C.READY, C.DATABASE_READY, C.DELETING),
        "Another session holds a lock that the operator needs, such as an open transaction; it is tried again.",
        "Wait, or end the session that the message names.",
    ),
    Entry(
        Reason.OBJECTS_LEFT,
        (C.READY, C.STALLED, C.DATABASE_READY, C.DELETING),
        "A role of the tenant owns something, or holds a privilege, where the operator may not take it away.",
        "Drop what the message names or give it to another role; then the operator goes on.",
    ),
    Entry(
        Reason.BACKUP_FAILED,
        (C.READY, C.STALLED, C.DELETING),
        "The backup of a Tenant that is being deleted did not work; nothing is dropped, and it is tried again.",
        "Mend what the message names: the volume or bucket, the room there, rights and keys, the image. Or say what "
        "else is to become of the data, by spec.deletionPolicy.",
    ),
    Entry(
        Reason.MIGRATION_FAILED,
        (C.READY, C.STALLED, C.DATABASE_READY, C.MIGRATIONS_UP_TO_DATE),
        "A migration step failed and was rolled back.",
        "Read the message; mend what it names.",
    ),
    Entry(
        Reason.DRIFTED,
        (C.DRIFT_DETECTED,),
        "Somebody changed by hand, on the server, what the message names; it is not, or not yet, put right.",
        "Undo it, or set spec.driftPolicy to Repair.",
    ),
    Entry(
        Reason.DRIFT_BREAKS_ISOLATION,
        (C.READY, C.STALLED, C.DATABASE_READY),
        "A change by hand opens a way between this tenant and others, and driftPolicy is Report.",
        "Undo what the message names at once, or set spec.driftPolicy to Repair.",
    ),
    Entry(
        Reason.DRIFT_BREAKS_TENANT,
        (C.READY, C.STALLED, C.DATABASE_READY),
        "A change by hand took something away that the tenant cannot do without, and driftPolicy is Report.",
        "Put back what the message names, or set spec.driftPolicy to Repair.",
    ),
    Entry(
        Reason.ISOLATION_BROKEN,
        (C.READY, C.STALLED, C.ISOLATION_VERIFIED),
        "There is a way between this tenant and others, and the operator may not, or must not, close it by itself.",
        "Run, as an administrator, what the message names after each way; the next sweep sees that it is closed.",
    ),
    Entry(
        Reason.LOG_IN_REFUSED,
        (C.ISOLATION_VERIFIED,),
        "The log-in with the published credentials came to nothing: the server refuses it, its connections are "
        "used up, or its own database lets nobody in.",
        "Rotate refused credentials, and look at pg_hba.conf; else end some of the tenant's connections.",
    ),
    Entry(
        Reason.BEHIND,
        (C.MIGRATIONS_UP_TO_DATE,),
        "The schema is older than the released revision. The Tenant works; a pass over it never moves it.",
        "`tenantry migrate run --to` the released revision; if that fails for it, mend what the run's failures name.",
    ),
    Entry(
        Reason.HELD,
        (C.MIGRATIONS_UP_TO_DATE,),
        "The schema is older than the released revision, and spec.migrations.hold keeps it there.",
        "Remove the hold and `tenantry migrate run --to` the released revision.",
    ),
    Entry(
        Reason.TENANTS_BEHIND,
        (C.READY, C.STALLED),
        "A run of phase contract would take away what tenants that are behind still need.",
        "Move them first: `tenantry migrate run --to` the released revision. The run goes on by itself then.",
    ),
    Entry(
        Reason.TENANTS_HELD,
        (C.READY, C.STALLED),
        "A run of phase contract waits while a tenant is held.",
        "Remove spec.migrations.hold of the Tenants that the message names. The run goes on by itself then.",
    ),
    Entry(
        Reason.FAILURE_BUDGET_EXCEEDED,
        (C.READY, C.STALLED),
        "More tenants failed than spec.failureBudget allows. The run has ended; who was moved stays moved, "
        "and nothing was released.",
        "Mend what status.failures names, and make another MigrationRun: it begins where this one ended.",
    ),
    Entry(
        Reason.SERVER_NOT_FOUND,
        (C.READY, C.STALLED, C.DATABASE_READY, C.DELETING),
        "The DatabaseServer that holds the tenant does not exist.",
        "Create it, or create the Tenant anew with the name of one that exists.",
    ),
    Entry(
        Reason.NO_DEFAULT_SERVER,
        (C.READY, C.STALLED, C.DATABASE_READY, C.DELETING),
        "The Tenant names no server and no DatabaseServer is the default.",
        "Set spec.default of a DatabaseServer to true.",
    ),
    Entry(
        Reason.NO_SERVER_READY,
        (C.READY, C.DATABASE_READY),
        "The Tenant names no server, and of the several default servers none is Ready.",
        "Look at the DatabaseServers' conditions; the Tenant is placed once one of them is Ready.",
    ),
    Entry(
        Reason.NO_CAPACITY,
        (C.READY, C.STALLED, C.DATABASE_READY, C.CAPACITY_AVAILABLE),
        "As many tenants as may be are placed on the server, or on all that are the default.",
        "Add a DatabaseServer with spec.default: true, or raise spec.limits.tenants of one as far as its Postgres "
        "bears. The Tenant is placed by itself then.",
    ),
    Entry(
        Reason.SERVER_UNREACHABLE,
        (C.READY, C.DATABASE_READY, C.DELETING),
        "The tenant's server does not answer; it is tried again and again.",
        "Look at the DatabaseServer's conditions; start the server.",
    ),
    Entry(
        Reason.IN_USE,
        (C.READY, C.STALLED, C.DELETING),
        "The DatabaseServer still holds tenants.",
        "Delete its Tenants first.",
    ),
    Entry(
        Reason.INVALID_SPEC,
        (C.READY, C.STALLED, C.NAMESPACE_READY),
        "The spec has something that this version of the operator does not know, or that cannot be.",
        "Change or remove what the message names, or upgrade the operator.",
    ),
    Entry(
        Reason.NOT_REACHABLE,
        (C.READY, C.REACHABLE, C.DELETING),
        "No connection to host and port.",
        "Check host, port, firewall and whether the server runs.",
    ),
    Entry(
        Reason.NAME_NOT_RESOLVED,
        (C.READY, C.REACHABLE, C.DELETING),
        "The host's name has no address.",
        "Check spec.host and the cluster's DNS.",
    ),
    Entry(
        Reason.AUTHENTICATION_FAILED,
        (C.READY, C.STALLED, C.REACHABLE, C.DATABASE_READY, C.DELETING),
        "The server refuses the log-in.",
        "Put the right username and password into the Secret of credentialsSecretRef.",
    ),
    Entry(
        Reason.TLS_FAILED,
        (C.READY, C.STALLED, C.REACHABLE, C.DATABASE_READY, C.DELETING),
        "The encrypted connection was refused, or the certificate is not for this host or not trusted.",
        "Set tls.caSecretRef to the authority that signed the certificate, or correct spec.host.",
    ),
    Entry(
        Reason.DATABASE_MISSING,
        (C.READY, C.STALLED, C.REACHABLE, C.DATABASE_READY, C.DELETING),
        "The server has no database of the name in spec.database.",
        "Create it with the operator's log-in as the owner.",
    ),
    Entry(
        Reason.CREDENTIALS_MISSING,
        (C.READY, C.STALLED, C.REACHABLE, C.DATABASE_READY, C.DELETING),
        "A Secret that the DatabaseServer names is not there or lacks a key.",
        "Create the Secret in tenantry-system with the keys that the message names.",
    ),
    Entry(
        Reason.TOO_MANY_CONNECTIONS,
        (C.READY, C.REACHABLE, C.DATABASE_READY, C.CAPACITY_AVAILABLE, C.DELETING),
        "The server has no connection left for the operator, or none for tenants.",
        "Raise max_connections, or end sessions that are not needed.",
    ),
    Entry(
        Reason.CONNECTIONS_IN_USE,
        (C.READY, C.REACHABLE, C.DATABASE_READY, C.DELETING),
        "The operator's own connections to the server were all at work for half a minute. The server has more.",
        "Wait: it is tried again. If it comes often, raise spec.limits.operatorConnections of the DatabaseServer.",
    ),
    Entry(Reason.VERSION_UNSUPPORTED, (C.READY, C.STALLED), "The server is older than Postgres 15.", "Upgrade it."),
    Entry(
        Reason.PRIVILEGES_MISSING,
        (C.READY, C.STALLED, C.PRIVILEGES_SUFFICIENT, C.DATABASE_READY, C.DELETING),
        "The operator's log-in lacks a right that it needs, or is a superuser, whom nothing would stop.",
        "Run, as an administrator, the statements that the message names.",
    ),
    Entry(
        Reason.REGISTRY_UNAVAILABLE,
        (C.READY, C.STALLED, C.DATABASE_READY, C.CAPACITY_AVAILABLE, C.DELETING),
        "The registry of tenants cannot be used.",
        "Follow the message: the registry's database must exist, or the log-in must have CREATEDB.",
    ),
    Entry(
        Reason.DATABASE_ERROR,
        (C.READY, C.STALLED, C.REACHABLE, C.PRIVILEGES_SUFFICIENT, C.DATABASE_READY, C.DELETING),
        "The server refused a statement.",
        "Read the message, and the server's log at that time.",
    ),
    Entry(
        Reason.KUBERNETES_ERROR,
        (C.READY, C.STALLED, C.CREDENTIALS_READY, C.NAMESPACE_READY, C.DELETING),
        "The API server refused or failed a request.",
        "Read the message; check the operator's rights and admission policies.",
    ),
    Entry(
        Reason.INVALID_TEMPLATE,
        (C.READY, C.STALLED, C.PROGRESSING),
        "The cluster refuses a Deployment of the template; no revision was made, the old one serves.",
        "Correct spec.template as the message says.",
    ),
    Entry(
        Reason.PROGRESS_DEADLINE_EXCEEDED,
        (C.READY, C.STALLED, C.PROGRESSING),
        "The new revision did not get ready in time; the old one serves.",
        "Correct spec.template, or set it back; the message carries what the pods wait for.",
    ),
    Entry(
        Reason.MINIMUM_REPLICAS_UNAVAILABLE,
        (C.READY, C.AVAILABLE),
        "The stable revision has no ready pod.",
        "`kubectl describe` its pods.",
    ),
    Entry(
        Reason.GATEWAY_NOT_FOUND,
        (C.READY, C.PROGRESSING),
        "The Gateway that traffic.gateway names does not exist.",
        "Create it, or correct name and namespace.",
    ),
    Entry(
        Reason.ROUTE_NOT_ACCEPTED,
        (C.READY, C.PROGRESSING),
        "The gateway refuses the route.",
        "Check that the listener allows routes of this namespace and this hostname.",
    ),
    Entry(
        Reason.ROUTE_REFS_NOT_RESOLVED,
        (C.READY, C.PROGRESSING),
        "The gateway cannot use the route's backends.",
        "Read the message of the HTTPRoute's ResolvedRefs condition.",
    ),
    Entry(
        Reason.FORCE_FINALIZED,
        (),
        "The Tenant was let go by the annotation tenantry.dev/force-finalize; what it had may be there still.",
        "Remove by hand what the message names, if it is not needed.",
    ),
    Entry(
        Reason.FORCE_FINALIZE_REFUSED,
        (),
        "The annotation tenantry.dev/force-finalize names another uid than the Tenant has; nothing was done.",
        "Set it to the metadata.uid of this very Tenant, if it is the one that you mean.",
    ),
    Entry(Reason.REPAIRED, (), "Something was found changed or missing and was put right."),
    Entry(Reason.UPDATED, (), "A change of the spec was applied."),
    Entry(Reason.ROTATED, (), "The Secret names another login with a new password; the old one works a while longer."),
    Entry(Reason.RETIRED, (), "The login of before the last rotation was dropped; what it owned is the owner's now."),
    Entry(
        Reason.SECRET_LOST,
        (),
        "The Secret with the credentials was gone; there is a new one with a new password.",
        "Restart what does not follow the Secret, and find out who deleted it.",
    ),
    Entry(Reason.ADOPTED, (), "Data that an earlier Tenant of this name left behind was taken over."),
    Entry(Reason.RELEASED, (), "The Tenant is gone; its data and group roles are kept."),
    Entry(
        Reason.BACKED_UP,
        (),
        "A backup of the tenant was made and restored for a trial; where it is, stands in the message.",
        "Note the place: `tenantry tenant restore` makes the data from it again.",
    ),
    Entry(Reason.DELETED, (), "The Tenant is gone and so is its data."),
    Entry(
        Reason.CRD_OUTDATED,
        (),
        "The cluster's definition of a kind is older than the operator: it drops or refuses what the operator knows.",
        "Upgrade the chart tenantry-crds to the operator's version.",
    ),
    Entry(Reason.RESUMED, (), "A tenant that was suspended or archived is Active again."),
)
