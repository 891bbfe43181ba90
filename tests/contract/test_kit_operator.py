"""The kit and the operator meet in the database and in Secrets, not in code: what one writes, the other reads."""

from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry_kit.databases import read_login
from tenantry_kit.principal import check_state
from tenantry_kit.problems import TENANT_SUSPENDED, TENANT_UNAVAILABLE, UNAUTHENTICATED, Problem
from tenantry_kit.registry import TenantRecord
from tenantry_kit.scope import TenantScope
from tenantry_kit.tenancy import TenantReplaced, check_marker
from tenantry_operator.model.names import TenantNames
from tenantry_operator.model.tenant import Marker, MarkerState, Place, RowState
from tenantry_operator.plan.tenant_secret import binding

TENANT_NAME = r"\A[a-z][a-z0-9-]{0,38}\Z"


def _scope(name: str, tenant_id: UUID) -> TenantScope:
    return TenantScope(tenant_id, name, "primary", "app", TenantNames(name).service_schema, "accounts")


@given(st.from_regex(TENANT_NAME))
def test_both_derive_the_same_names(name):
    names, scope = TenantNames(name), _scope(name, uuid4())
    assert scope.role == names.service_role("accounts")
    assert scope.owner_role == names.owner


def test_the_operators_marker_opens_its_own_tenant_only():
    tenant_id = uuid4()
    marker = Marker(str(tenant_id), str(uuid4()), "installation")
    check_marker(marker.text(), _scope("acme", tenant_id))
    with pytest.raises(TenantReplaced):
        check_marker(marker.text(), _scope("acme", uuid4()))
    released = Marker(marker.id, marker.uid, marker.installation, MarkerState.RELEASED)
    with pytest.raises(TenantReplaced):
        check_marker(released.text(), _scope("acme", tenant_id))


def test_the_operators_secret_is_a_login():
    place = Place("primary", "app", "db.example.com", 5433, "verify-full", "PEM")
    data = binding(place, schema="", username="tenantry_svc_accounts_1", password="p w'\"")
    login = read_login(Path("/etc/tenantry/databases/primary"), data | {"registry-database": "tenantry"})
    assert (login.host, login.port, login.database) == ("db.example.com", 5433, "app")
    assert (login.username, login.password) == ("tenantry_svc_accounts_1", "p w'\"")
    assert (login.sslmode, login.registry_database) == ("verify-full", "tenantry")
    assert login.ca_file == Path("/etc/tenantry/databases/primary/ca.crt")


ANSWERS = {
    RowState.PROVISIONING: TENANT_UNAVAILABLE,
    RowState.SUSPENDED: TENANT_SUSPENDED,
    RowState.ARCHIVED: TENANT_SUSPENDED,
    RowState.RELEASED: UNAUTHENTICATED,
    RowState.DELETED: UNAUTHENTICATED,
}


def _record(state: RowState) -> TenantRecord:
    return TenantRecord(uuid4(), "acme", "primary", "app", "s_acme", state.value)


def test_an_active_tenant_is_open():
    check_state(_record(RowState.ACTIVE))


@pytest.mark.parametrize("state", [state for state in RowState if state is not RowState.ACTIVE])
def test_every_other_state_that_the_operator_writes_has_its_answer(state):
    with pytest.raises(Problem) as closed:
        check_state(_record(state))
    assert closed.value.type is ANSWERS[state]
