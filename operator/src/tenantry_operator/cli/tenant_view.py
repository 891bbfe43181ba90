"""What a Tenant looks like to a person: a row of a list, a tree, and the whole of it for a ticket. All pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.text import Text
from rich.tree import Tree

from tenantry_crds.reasontable import TABLE
from tenantry_crds.runbooks import RUNBOOKS
from tenantry_operator.cli.output import age, coloured, condition

Body = Mapping[str, Any]

HEADS: Final = ("NAME", "READY", "PHASE", "REASON", "SERVER", "SCHEMA", "VERSION", "AGE", "MESSAGE")
HIDDEN: Final = ("managedFields", "resourceVersion")
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
TIME_ANNOTATIONS: Final = ("tenantry.dev/rotated-at", "tenantry.dev/previous-expires-at", "tenantry.dev/rotated-for")


def summary(tenant: Body) -> dict[str, Any]:
    """Return what a list shows of a Tenant."""
    metadata, status = tenant["metadata"], tenant.get("status") or {}
    ready = condition(tenant, "Ready")
    return {
        "name": metadata["name"],
        "ready": ready.get("status", "Unknown"),
        "phase": status.get("phase", "Pending"),
        "reason": ready.get("reason", ""),
        "message": ready.get("message", ""),
        "server": status.get("databaseServer") or tenant["spec"].get("databaseServer", ""),
        "schema": status.get("schema", ""),
        "version": (status.get("migration") or {}).get("current", ""),
        "created": metadata.get("creationTimestamp", ""),
    }


def row(one: Mapping[str, Any], now: datetime) -> tuple[str | Text, ...]:
    """Return the cells of HEADS; a message only where something is wrong."""
    words = (one["phase"], one["reason"], one["server"], one["schema"], one["version"])
    message = one["message"] if one["ready"] != "True" else ""
    return one["name"], coloured(one["ready"]), *(word or "-" for word in words), age(one["created"], now), message


def tree(tenant: Body, secret: Body | None, *, now: datetime) -> Tree:
    """Show one Tenant: conditions, where it is, its roles, versions, binding and ages."""
    metadata, status = tenant["metadata"], tenant.get("status") or {}
    root = Tree(Text.assemble((metadata["name"], "bold"), f"  {tenant['spec'].get('displayName', '')}"))
    root.add(f"phase {status.get('phase', 'Pending')}, {age(metadata.get('creationTimestamp'), now)} old")
    _conditions(root, tenant, now)
    place = root.add(Text("place", style="bold"))
    for label, key in (("server", "databaseServer"), ("database", "database"), ("schema", "schema"), ("id", "id")):
        place.add(f"{label} {status.get(key, '-')}")
    roles = root.add(Text("roles", style="bold"))
    for role in status.get("roles") or ("none yet",):
        roles.add(str(role))
    migration = status.get("migration") or {}
    root.add(f"version {migration.get('current', '-')} of {migration.get('target', '-')}")
    _binding(root, status, secret, now)
    _rest(root, status)
    return root


def _conditions(root: Tree, tenant: Body, now: datetime) -> None:
    branch = root.add(Text("conditions", style="bold"))
    generation = tenant["metadata"].get("generation")
    for one in (tenant.get("status") or {}).get("conditions") or ():
        stale = f", of generation {one['observedGeneration']}" if one.get("observedGeneration") != generation else ""
        since = age(one.get("lastTransitionTime"), now)
        label = Text.assemble(one["type"], "=", coloured(one["status"]), f" {one['reason']} since {since}{stale}")
        leaf = branch.add(label)
        if one.get("message"):
            leaf.add(one["message"])
    ready = condition(tenant, "Ready")
    if not ready:
        branch.add("none yet: the operator has not looked at it")
    elif ready["status"] != "True":
        branch.add(Text(f"`tenantry explain {ready['reason']}` says what to do", style="yellow"))


def _binding(root: Tree, status: Mapping[str, Any], secret: Body | None, now: datetime) -> None:
    binding = status.get("binding") or {}
    branch = root.add(Text("binding", style="bold"))
    if not binding:
        branch.add("no Secret yet")
        return
    branch.add(f"Secret {binding['namespace']}/{binding['name']}")
    if secret is None:
        branch.add("the Secret is not there, or you may not read it")
        return
    metadata = secret["metadata"]
    branch.add(f"{age(metadata.get('creationTimestamp'), now)} old")
    credentials = status.get("credentials") or {}
    if credentials.get("rotatedAt"):
        branch.add(f"slot {credentials.get('activeSlot', '-')}, rotated {age(credentials['rotatedAt'], now)} ago")


def _rest(root: Tree, status: Mapping[str, Any]) -> None:
    """Show what else the status has, so that nothing of a newer operator is left out."""
    shown = {"conditions", "phase", "databaseServer", "database", "schema", "id", "roles", "migration", "binding"}
    for key, value in status.items():
        if key not in shown and key != "observedGeneration":
            _add(root, key, value)


def _add(branch: Tree, key: str, value: Any) -> None:
    if isinstance(value, Mapping):
        below = branch.add(Text(key, style="bold"))
        for name, child in value.items():
            _add(below, str(name), child)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        below = branch.add(Text(key, style="bold"))
        for number, child in enumerate(value):
            _add(below, str(number), child)
    else:
        branch.add(f"{key} {value}")


def without_secrets(tenant: Body) -> dict[str, Any]:
    """Return the object without bookkeeping and without what somebody once applied."""
    metadata = {key: value for key, value in tenant["metadata"].items() if key not in HIDDEN}
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != LAST_APPLIED}
    return {**tenant, "metadata": {**metadata, "annotations": annotations}}


def secret_facts(secret: Body | None) -> dict[str, Any] | None:
    """Return what can be told of a Secret: its keys, never a value."""
    if secret is None:
        return None
    metadata = secret["metadata"]
    annotations = metadata.get("annotations") or {}
    return {
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "created": metadata.get("creationTimestamp"),
        "keys": sorted(secret.get("data") or {}),
        "annotations": {key: annotations[key] for key in TIME_ANNOTATIONS if key in annotations},
    }


def event_facts(events: Iterable[Body], name: str) -> list[dict[str, Any]]:
    """Return the Events about a Tenant, newest first."""
    about = [
        one
        for one in events
        if one.get("regarding", {}).get("kind") == "Tenant" and one["regarding"].get("name") == name
    ]
    about.sort(key=lambda one: str(one.get("eventTime") or one["metadata"].get("creationTimestamp")), reverse=True)
    return [
        {"time": one.get("eventTime"), "type": one.get("type"), "reason": one.get("reason"), "note": one.get("note")}
        for one in about
    ]


def explained(tenant: Body) -> list[dict[str, Any]]:
    """Return what the table says about each reason that is not well."""
    reasons = {one["reason"] for one in (tenant.get("status") or {}).get("conditions") or () if _is_bad(one)}
    return [
        {"reason": entry.reason.value, "remedy": entry.remedy, "commands": list(RUNBOOKS.get(entry.reason, ()))}
        for entry in TABLE
        if entry.reason.value in reasons
    ]


def _is_bad(one: Mapping[str, Any]) -> bool:
    """Whether a condition says something that is not as it should be; Stalled and Deleting are well when False."""
    good = "False" if one["type"] in {"Stalled", "Reconciling", "Deleting", "DriftDetected", "Suspended"} else "True"
    return bool(one["status"] != good)


def markdown(report: Mapping[str, Any]) -> str:
    """Write a report as a page: short facts as lists, the rest as blocks of YAML."""
    import yaml  # noqa: PLC0415  no other view needs it

    lines = [f"# Tenant {report['tenant']['metadata']['name']}", ""]
    for key, value in report.items():
        lines += [f"## {key}", ""]
        if isinstance(value, str):
            lines += [value, ""]
        else:
            dumped = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
            lines += ["```yaml", dumped.rstrip(), "```", ""]
    return "\n".join(lines)
