"""The kit and the operator meet in the database and in Secrets, not in code: what one writes, the other reads."""

from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tenantry_migrations as migrations
from tenantry_kit.databases import LoginMissing, read_login
from tenantry_kit.principal import check_state
from tenantry_kit.problems import TENANT_SUSPENDED, TENANT_UNAVAILABLE, UNAUTHENTICATED, Problem
from tenantry_kit.registry import TenantRecord, login_number
from tenantry_kit.scope import TenantScope
from tenantry_kit.tenancy import TenantReplaced, check_marker
from tenantry_operator.model.isolation import Isolation, Layout
from tenantry_operator.model.names import TenantNames, service_login
from tenantry_operator.model.pool import CUSTOMERS_PART, DIRECTORY_SCHEMA, OWNERS_PART, POOL_SCHEMA, pool_role
from tenantry_operator.model.server import DesiredServer
from tenantry_operator.model.tenant import Marker, MarkerState, Place, RowState
from tenantry_operator.plan.server import service_binding
from tenantry_operator.plan.tenant_secret import binding

TENANT_NAME = r"\A[a-z][a-z0-9-]{0,38}\Z"


def _scope(name: str, tenant_id: UUID) -> TenantScope:
    return TenantScope(tenant_id, name, "primary", "app", TenantNames(name).service_schema, "accounts")


@given(st.from_regex(TENANT_NAME))
def test_both_derive_the_same_names(name):
    names, scope = TenantNames(name), _scope(name, uuid4())
    assert scope.role == names.service_role("accounts")
    assert scope.owner_role == names.owner


def test_both_name_the_pool_and_its_roles_alike():
    layout = Layout(TenantNames("acme"), Isolation.POOLED, "primary", "app")
    scope = TenantScope(uuid4(), "acme", "primary", "app", layout.services.schema, "accounts")
    assert scope.is_pooled
    assert scope.role == pool_role("accounts")
    assert not _scope("acme", uuid4()).is_pooled


def test_the_histories_and_the_operator_name_the_pool_alike():
    assert (POOL_SCHEMA, DIRECTORY_SCHEMA) == (migrations.POOL_SCHEMA, migrations.DIRECTORY_SCHEMA)
    assert (OWNERS_PART, CUSTOMERS_PART) == (migrations.OWNER, migrations.CUSTOMERS)


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


def test_each_of_the_operators_logins_is_found_by_what_the_registry_says():
    desired = DesiredServer("primary", "uid", "installation", Place("primary", "app", "db", 5432, "disable"), "system")
    data = service_binding(desired, "accounts", {1: "first", 2: "second", 11: "eleventh"})
    for number, password in {1: "first", 2: "second", 11: "eleventh"}.items():
        said = service_login("accounts", number)
        login = read_login(Path("/etc/tenantry/databases/primary"), data, login_number(said))
        assert (login.username, login.password) == (said, password)
    with pytest.raises(LoginMissing, match="username-3"):
        read_login(Path("/etc/tenantry/databases/primary"), data, 3)


def test_a_row_that_names_a_login_of_another_kind_is_taken_for_the_first():
    assert login_number("somebody") == 1
    assert login_number("tenantry_svc_accounts_0") == 1


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
