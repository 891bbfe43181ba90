"""No two tenants share a name of anything."""

from hypothesis import given
from hypothesis import strategies as st

from tenantry_operator.model.names import OWNER, TENANTS, TenantNames, service_login

TENANT = st.from_regex(r"\A[a-z][a-z0-9-]{0,38}\Z").filter(lambda name: not name.startswith("tenantry"))
# Names that are made of what derived names are made of.
TRICKY = st.lists(
    st.sampled_from(["t", "s", "a", "owner", "app", "ro", "migrator", "login", "accounts", "login-a"]),
    min_size=1,
    max_size=4,
).map("-".join)
NAME = st.one_of(TENANT, TRICKY.filter(lambda name: len(name) <= 39))


@given(NAME, NAME)
def test_no_two_tenants_share_a_role_or_a_schema(one: str, other: str) -> None:
    first, second = TenantNames(one), TenantNames(other)
    if one != other:
        assert not set(first.roles) & set(second.roles)
        assert not set(first.schemas) & set(second.schemas)


@given(NAME)
def test_a_tenants_names_differ_from_each_other_and_from_the_shared_ones(name: str) -> None:
    names = TenantNames(name)
    assert len({*names.roles}) == len(names.roles)
    assert len({*names.schemas}) == len(names.schemas)
    assert not {OWNER, TENANTS, service_login("accounts")} & {*names.roles, *names.schemas}


@given(NAME)
def test_every_name_fits_postgres(name: str) -> None:
    names = TenantNames(name)
    assert all(len(one.encode()) <= 63 for one in (*names.roles, *names.schemas))
