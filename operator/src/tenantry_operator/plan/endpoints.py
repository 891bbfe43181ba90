"""What a tenant's Secret says of a pooler and of replicas."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import quote

from tenantry_operator.model.endpoints import Endpoint
from tenantry_operator.model.tenant import Place


def reached_by_tenants(place: Place) -> Place:
    """Return the place with the host and port that tenants take."""
    primary = place.endpoints.primary
    return replace(place, host=primary.host, port=primary.port) if primary else place


def endpoint_keys(place: Place, *, username: str, password: str) -> dict[str, str]:
    """Return the further keys of a tenant's Secret; none for a server that has neither."""
    ends, who = place.endpoints, f"{quote(username)}:{quote(password, safe='')}"
    data: dict[str, str] = {}
    if ends.pooler:
        data |= _keys("pooler", [ends.pooler], place, who) | {"pooler_mode": ends.pooler_mode}
    if ends.replicas:
        data |= _keys("readonly", ends.replicas, place, who)
    return data


def in_templates(data: Mapping[str, str]) -> dict[str, str]:
    """Return what a template may name: without a pooler or replicas, the server itself stands for them."""
    stand_ins = {f"{kind}_{key}": data[key] for kind in ("pooler", "readonly") for key in ("host", "port", "uri")}
    return {"pooler_mode": "session", **stand_ins, **data}


def _keys(kind: str, ends: Sequence[Endpoint], place: Place, who: str) -> dict[str, str]:
    hosts = ",".join(f"{written(one.host)}:{one.port}" for one in ends)
    return {
        f"{kind}_host": ",".join(one.host for one in ends),
        f"{kind}_port": ",".join(str(one.port) for one in ends),
        f"{kind}_uri": f"postgresql://{who}@{hosts}/{quote(place.database)}?sslmode={place.sslmode}",
    }


def written(host: str) -> str:
    """Return the host as addresses have it."""
    return f"[{host}]" if ":" in host else host
