"""What a tenant's Secret says of a pooler and of replicas, and what its template makes of that."""

from dataclasses import replace

import pytest

from tenantry_crds.credentials import BINDING_KEYS, ENDPOINT_KEYS
from tenantry_operator.model.endpoints import Endpoint, Endpoints
from tenantry_operator.plan.tenant_secret import tenant_binding
from tenantry_testing.tenant_damages import make_desired

LOGIN = "t_acme_login_a"
POOLER = Endpoints(pooler=Endpoint("pool.example.com", 6432), pooler_mode="transaction")
REPLICAS = Endpoints(replicas=(Endpoint("r1.example.com", 5432), Endpoint("fd00::1", 5433)))


def secret(endpoints: Endpoints, template: dict[str, str] | None = None) -> dict[str, str]:
    desired = make_desired()
    place = replace(desired.place, host="db.example.com", port=5432, sslmode="verify-full", endpoints=endpoints)
    credentials = replace(desired.credentials, template=template or {})
    return tenant_binding(replace(desired, place=place, credentials=credentials), LOGIN, "p@ss")


def test_a_server_without_more_endpoints_says_nothing_of_them() -> None:
    assert not {*ENDPOINT_KEYS} & {*secret(Endpoints())}


def test_a_pooler_is_said_beside_the_server() -> None:
    data = secret(POOLER)
    assert (data["host"], data["port"]) == ("db.example.com", "5432")
    assert (data["pooler_host"], data["pooler_port"]) == ("pool.example.com", "6432")
    assert data["pooler_mode"] == "transaction"
    assert data["pooler_uri"] == "postgresql://t_acme_login_a:p%40ss@pool.example.com:6432/app?sslmode=verify-full"
    assert "search_path" not in data["pooler_uri"]
    assert "readonly_host" not in data


def test_several_replicas_are_a_list_as_libpq_reads_it() -> None:
    data = secret(REPLICAS)
    assert (data["readonly_host"], data["readonly_port"]) == ("r1.example.com,fd00::1", "5432,5433")
    assert "@r1.example.com:5432,[fd00::1]:5433/app?" in data["readonly_uri"]


def test_tenants_take_the_primary_where_it_is_named() -> None:
    data = secret(Endpoints(primary=Endpoint("public.example.com", 5439)))
    assert (data["host"], data["port"]) == ("public.example.com", "5439")
    assert "@public.example.com:5439/" in data["uri"]


@pytest.mark.parametrize(
    ("endpoints", "made"),
    [
        (POOLER, "pool.example.com:6432 transaction / db.example.com:5432"),
        (REPLICAS, "db.example.com:5432 session / r1.example.com,fd00::1:5432,5433"),
        (Endpoints(), "db.example.com:5432 session / db.example.com:5432"),
        (Endpoints(primary=Endpoint("a", 1)), "a:1 session / a:1"),
    ],
)
def test_a_template_holds_for_each_server(endpoints: Endpoints, made: str) -> None:
    template = {"ADDRESS": "{pooler_host}:{pooler_port} {pooler_mode} / {readonly_host}:{readonly_port}"}
    assert secret(endpoints, template)["ADDRESS"] == made


def test_every_placeholder_is_filled_for_each_server() -> None:
    for endpoints in (Endpoints(), POOLER, REPLICAS):
        template = {f"MY_{key}": f"{{{key}}}" for key in ENDPOINT_KEYS}
        assert not [value for key, value in secret(endpoints, template).items() if key in template and "{" in value]


def test_a_template_leaves_every_key_of_ours_alone() -> None:
    whole = secret(Endpoints(pooler=POOLER.pooler, pooler_mode="session", replicas=REPLICAS.replicas))
    assert {*whole} <= {*BINDING_KEYS}
