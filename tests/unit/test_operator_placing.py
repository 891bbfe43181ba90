"""Where a Tenant may be placed, as its pass reads it from the DatabaseServers."""

import pytest

from tenantry_operator.reconcile.tenant_placing import candidate


@pytest.mark.parametrize(
    ("asked", "borne", "most"),
    [(None, None, 1_000), (None, 100_000, 100_000), (20, None, 20), (20, 100_000, 20), (5_000, 1_000, 1_000)],
)
def test_a_server_takes_what_its_spec_and_its_last_pass_both_allow(
    asked: int | None, borne: int | None, most: int
) -> None:
    body = {
        "metadata": {"name": "primary"},
        "spec": {} if asked is None else {"limits": {"tenants": asked}},
        "status": {} if borne is None else {"capacity": {"tenants": borne}},
    }
    assert candidate(body).most_tenants == most
