"""All there is of the Tenants, as lines of text that are equal when the states are.

Left out is what may differ between equal states: times, versions of objects, oids, salts, generations, messages,
Events, the Lease, and what the breaker remembers of Tenants that are not asked for. Ids and names are put in by role:
``<tenant>``, ``<uid>``, ``<id>``; a password is told by whether it lets in.
"""

import base64
import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import psycopg

from tenantry_operator.engine import breaker
from tenantry_operator.model.breaker import BreakerState
from tenantry_operator.model.credentials import applied_mark
from tenantry_testing.faults.administrator import DATABASESERVERS, JOBS, MIGRATIONRUNS, TENANTS
from tenantry_testing.faults.world import CONFIGMAPS, IN_NAMESPACE, POOLED_TABLES, FaultWorld
from tenantry_testing.postgres import Login

UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIMES: Final = re.compile(r"(At|Time|Since|-at)$")
KINDS: Final = {
    "secrets": "/api/v1/secrets",
    "namespaces": "/api/v1/namespaces",
    "configmaps": "/api/v1/configmaps",
    "tenants": TENANTS,
    "databaseservers": DATABASESERVERS,
    "migrationruns": MIGRATIONRUNS,
    "jobs": JOBS,
    **IN_NAMESPACE,
}
FOREIGN: Final = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})

ROLES: Final = """
SELECT rolname, concat_ws(' ', CASE WHEN rolcanlogin THEN 'LOGIN' END, CASE WHEN rolinherit THEN 'INHERIT' END,
    CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
    CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolreplication THEN 'REPLICATION' END,
    CASE WHEN rolbypassrls THEN 'BYPASSRLS' END, 'limit ' || rolconnlimit,
    CASE WHEN rolvaliduntil < 'infinity' THEN 'expires' END, CASE WHEN rolpassword IS NULL THEN 'no password' END),
    shobj_description(oid, 'pg_authid')
FROM pg_authid WHERE rolname !~ '^pg_' ORDER BY rolname
"""
MEMBERSHIPS: Final = """
SELECT pg_get_userbyid(roleid), pg_get_userbyid(member), string_agg(DISTINCT concat_ws(' ',
    CASE WHEN admin_option THEN 'ADMIN' END, CASE WHEN (to_jsonb(m)->>'inherit_option')::bool THEN 'INHERIT' END,
    CASE WHEN (to_jsonb(m)->>'set_option')::bool THEN 'SET' END), ' and ')
FROM pg_auth_members m WHERE pg_get_userbyid(roleid) !~ '^pg_' GROUP BY 1, 2 ORDER BY 1, 2
"""
ROLE_SETTINGS: Final = """
SELECT coalesce(r.rolname, 'all'), coalesce(d.datname, 'everywhere'), c
FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase
CROSS JOIN LATERAL unnest(s.setconfig) c ORDER BY 1, 2, 3
"""
DATABASES: Final = """
SELECT datname, pg_get_userbyid(datdba), datconnlimit, datallowconn, shobj_description(oid, 'pg_database'), ARRAY(
    SELECT a::text FROM unnest(datacl) a ORDER BY a::text) FROM pg_database ORDER BY datname
"""
SCHEMAS: Final = """
SELECT nspname, pg_get_userbyid(nspowner), ARRAY(SELECT a::text FROM unnest(nspacl) a ORDER BY a::text)
FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY nspname
"""
# NULL is how Postgres writes the rights that a relation has by itself; once some were changed and put back it is not.
RELATIONS: Final = """
SELECT c.oid::regclass, c.relkind, pg_get_userbyid(c.relowner), c.relrowsecurity, c.relforcerowsecurity,
    ARRAY(SELECT a::text FROM unnest(coalesce(
        c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END, c.relowner))) a ORDER BY a::text),
    ARRAY(SELECT concat_ws(' ', attname, format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'not null' END)
        FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum),
    ARRAY(SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = c.oid ORDER BY 1),
    ARRAY(SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = c.oid ORDER BY 1)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind <> 'i' ORDER BY n.nspname, c.relname
"""
DEFAULTS: Final = """
SELECT pg_get_userbyid(defaclrole), coalesce(defaclnamespace::regnamespace::text, 'everywhere'), defaclobjtype,
    ARRAY(SELECT a::text FROM unnest(defaclacl) a ORDER BY a::text) FROM pg_default_acl ORDER BY 1, 2, 3
"""
OBJECTS: Final = """
SELECT 'function', p.oid::regprocedure::text, concat_ws(' ', pg_get_userbyid(proowner), prosecdef, proconfig,
    md5(prosrc), ARRAY(SELECT a::text FROM unnest(proacl) a ORDER BY 1)) FROM pg_proc p
    JOIN pg_namespace n ON n.oid = pronamespace WHERE n.nspname !~ '^(pg_|information_schema$)'
UNION ALL SELECT 'extension', extname, pg_get_userbyid(extowner) FROM pg_extension
UNION ALL SELECT 'policy', polname || ' on ' || polrelid::regclass, concat_ws(' ', polpermissive, polcmd,
    polroles::regrole[], pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) FROM pg_policy
UNION ALL SELECT 'large objects', count(*)::text, '' FROM pg_largeobject_metadata
ORDER BY 1, 2
"""
HAS_VERSION: Final = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname ~ 'version' AND c.relkind = 'r' AND n.nspname !~ '^(pg_|information_schema$)' ORDER BY 1, 2
"""
CUSTOMERS: Final = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname ~ '^t_' ORDER BY 1, 2
"""
ON_SERVER: Final = {"role": ROLES, "member": MEMBERSHIPS, "setting": ROLE_SETTINGS, "database": DATABASES}
IN_DATABASE: Final = {"schema": SCHEMAS, "relation": RELATIONS, "default": DEFAULTS, "object": OBJECTS}


def dump(world: FaultWorld, tenants: Mapping[str, str]) -> str:
    """Return all there is. `tenants` are the names to speak of by role, and the UIDs that their objects have or had."""
    named = _Names(world, tenants)
    lines = [
        *_postgres(world),
        *_registry(world),
        *_cluster(world, {uid: name for name, uid in tenants.items()}),
        *_breaker(world, tenants.values()),
    ]
    return "\n".join(sorted(named(line) for line in lines)) + "\n"


def difference(wanted: str, found: str) -> str:
    """Return the lines that differ; empty when there are none."""
    lines = difflib.unified_diff(wanted.splitlines(), found.splitlines(), "wanted", "found", lineterm="", n=0)
    return "\n".join(line for line in lines if not line.startswith("@@"))


class _Names:
    """Puts roles in the place of names and ids."""

    def __init__(self, world: FaultWorld, tenants: Mapping[str, str]) -> None:
        self._words: dict[str, str] = {}
        with world.session("tenantry") as registry:
            rows = []
            if _is_prepared(registry):
                rows = registry.execute("SELECT name, id::text FROM tenantry.tenants ORDER BY created_at").fetchall()
        for number, (name, uid) in enumerate(tenants.items()):
            mark = "" if number == 0 else f" {number}"
            self._words |= {name: f"<tenant{mark}>", name.replace("-", "_"): f"<tenant{mark}>", uid: f"<uid{mark}>"}
            self._words |= {own: f"<id{mark}>" for other, own in rows if other == name}
        self._words[str(world.database.port)] = "<port>"
        longest = sorted(map(re.escape, self._words), key=len, reverse=True)
        self._pattern = re.compile(rf"(?<![0-9a-z])({'|'.join(longest)})(?![0-9])")

    def __call__(self, line: str) -> str:
        return UUID.sub("<another uuid>", self._pattern.sub(lambda found: self._words[found[1]], line))


def _postgres(world: FaultWorld) -> Iterator[str]:
    with world.session() as connection:
        for kind, query in ON_SERVER.items():
            yield from (f"{kind}: {_told(row)}" for row in connection.execute(query).fetchall())
        databases = [row[0] for row in connection.execute("SELECT datname FROM pg_database WHERE datallowconn")]
    for database in sorted(databases):
        if database == "template1":
            continue
        with world.session(database) as connection:
            for kind, query in IN_DATABASE.items():
                yield from (f"{kind} in {database}: {_told(row)}" for row in connection.execute(query).fetchall())
            for schema, table in connection.execute(HAS_VERSION).fetchall():
                found = connection.execute(f'SELECT * FROM "{schema}"."{table}" ORDER BY 1').fetchall()
                yield from (f"version in {database}: {schema}.{table} {_told(row)}" for row in found)
            for schema, table in connection.execute(CUSTOMERS).fetchall():
                count = connection.execute(f'SELECT count(*) FROM "{schema}"."{table}"').fetchone()
                yield f"rows in {database}: {schema}.{table} {count}"
            yield from _pool(connection)


def _pool(connection: psycopg.Connection[Any]) -> Iterator[str]:
    for (table,) in connection.execute(POOLED_TABLES).fetchall():
        query = f'SELECT tenant_id::text, count(*) FROM tenantry_pool."{table}" GROUP BY 1 ORDER BY 1'
        yield from (f"pool: {table} {_told(row)}" for row in connection.execute(query).fetchall())
    if connection.execute("SELECT to_regclass('tenantry.pooled') IS NOT NULL").fetchone() == (True,):
        rows = connection.execute("SELECT to_jsonb(p) FROM tenantry.pooled p ORDER BY name").fetchall()
        yield from (f"pool: entry {_text(row)}" for (row,) in rows)


def _told(row: tuple[Any, ...]) -> str:
    return " | ".join("-" if value is None else str(value) for value in row)


def _registry(world: FaultWorld) -> Iterator[str]:
    with world.session("tenantry") as connection:
        if not _is_prepared(connection):
            return
        for table, order in (("tenants", "name"), ("api_keys", "public_id"), ("released", "1")):
            rows = connection.execute(f"SELECT to_jsonb(x) FROM tenantry.{table} x ORDER BY {order}").fetchall()
            yield from (f"registry {table}: {_text(row)}" for (row,) in rows)


def _is_prepared(registry: psycopg.Connection[Any]) -> bool:
    return registry.execute("SELECT to_regclass('tenantry.tenants') IS NOT NULL").fetchone() == (True,)


def _cluster(world: FaultWorld, owners: Mapping[str, str]) -> Iterator[str]:
    for kind, path in KINDS.items():
        for body in world.administrator.list(path):
            metadata = body["metadata"]
            if (metadata["name"] if kind == "namespaces" else metadata.get("namespace")) in FOREIGN:
                continue
            if kind == "configmaps" and metadata["name"] == breaker.NAME:
                continue
            place = f"{kind} {metadata.get('namespace', '')}/{metadata['name']}"
            about = {key: metadata.get(key) for key in ("labels", "finalizers", "ownerReferences")}
            yield f"{place}: {_text(about)}{' Terminating' if 'deletionTimestamp' in metadata else ''}"
            if kind == "secrets":
                yield from _secret(world, place, body)
            elif kind in IN_NAMESPACE:
                yield f"{place}: {_text({key: body.get(key) for key in ('spec', 'roleRef', 'subjects')})}"
            elif kind != "namespaces":
                yield f"{place}: annotations {_text(metadata.get('annotations') or {})}"
                yield from _status(place, body)
            if kind == "tenants":
                yield f"{place}: uid {metadata['uid']}, spec {_text(body['spec'])}"


def _breaker(world: FaultWorld, uids: Iterable[str]) -> Iterator[str]:
    """Say whether it is open, and whose drop was begun. One that never had to say anything is one that is closed."""
    body = world.administrator.get(f"{CONFIGMAPS}/{breaker.NAME}")
    state = BreakerState.parse(body["data"][breaker.KEY]) if body else BreakerState()
    yield f"breaker: {'closed' if state.latch is None else 'open'}, approved {sorted(state.approved)}"
    yield from (f"breaker: the drop of {uid} was begun" for uid in uids if uid in state.begun)


def _secret(world: FaultWorld, place: str, body: Mapping[str, Any]) -> Iterator[str]:
    metadata = body["metadata"]
    data = {key: base64.b64decode(value).decode() for key, value in (body.get("data") or {}).items()}
    password = data.get("password", "")
    annotations = dict(metadata.get("annotations") or {})
    for key, value in annotations.items():
        if key.endswith("password-applied"):
            annotations[key] = _is_true_mark(world, value, data)
    yield f"{place}: annotations {_text(annotations)}"
    shown = {key: value.replace(password, "<password>") if password else value for key, value in data.items()}
    for key, value in sorted(shown.items()):
        yield f"{place}: {key} = {value if len(value) < 200 else f'{len(value)} characters'}"
    if {"username", "database"} <= data.keys():
        yield f"{place}: the password {'lets in' if _lets_in(world, data) else 'does not let in'}"


def _is_true_mark(world: FaultWorld, value: str, data: Mapping[str, str]) -> str:
    with world.session() as connection:
        row = connection.execute("SELECT oid::int FROM pg_roles WHERE rolname = %s", [data.get("username")]).fetchone()
    true = row is not None and applied_mark(row[0], data.get("password", "")) == value
    return "true" if true else "not true"


def _lets_in(world: FaultWorld, data: Mapping[str, str]) -> bool:
    try:
        with world.postgres.connect(data["database"], Login(data["username"], data["password"])) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def _status(place: str, body: Mapping[str, Any]) -> Iterator[str]:
    status = dict(body.get("status") or {})
    current = status.pop("observedGeneration", None) == body["metadata"].get("generation")
    yield f"{place}: status is {'current' if current else 'of another spec'}"
    for condition in status.pop("conditions", []):
        yield f"{place}: {condition['type']}={condition['status']} {condition['reason']}"
    for key, value in sorted(status.items()):
        yield f"{place}: status.{key} = {'a time' if TIMES.search(key) else _text(value)}"


def _text(value: object) -> str:
    return json.dumps(_timeless(value), sort_keys=True)


def _timeless(value: object) -> object:
    """Leave out times, and of what is noted down as a time that it is."""
    if isinstance(value, dict):
        return {
            key: ("a time" if inner else None) if TIMES.search(key) or key.endswith("_at") else _timeless(inner)
            for key, inner in value.items()
        }
    return [_timeless(one) for one in value] if isinstance(value, list) else value
