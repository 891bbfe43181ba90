"""Whose a Tenant is, where several operators share them."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from pydantic import ValidationError

from tenantry_crds import names
from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.engine.fence import NAME_LIMIT, application_name, leadership_of
from tenantry_operator.model.shard import Shard
from tenantry_operator.settings import SHARD, OperatorSettings
from tenantry_operator.wiring import watched_resources

SHARDS = st.from_regex(SHARD, fullmatch=True).filter(bool)


def body(label: str | None) -> dict[str, Any]:
    labels = {} if label is None else {names.LABEL_SHARD: label}
    return {"metadata": {"name": "acme", "labels": labels}}


@given(configured=st.sets(SHARDS, max_size=4), label=st.one_of(st.none(), st.just(""), SHARDS))
def test_each_tenant_has_exactly_one_operator(configured: set[str], label: str | None) -> None:
    operators = [Shard(others=frozenset(configured)), *map(Shard, configured)]
    own = [one for one in operators if one.owns(body(label))]
    assert [one.name for one in own] == [label if label in configured else ""]


def test_without_shards_all_tenants_are_of_the_one_operator() -> None:
    """A label that names no shard leaves no Tenant without an operator."""
    only = Shard()
    assert only.is_only
    assert all(only.owns(body(label)) for label in (None, "", "anything"))


@given(pod=st.text("abcdefghij0123456789-", min_size=1, max_size=80), shard=SHARDS | st.just(""), number=st.integers(0))
def test_the_name_of_a_session_tells_shard_and_leadership(pod: str, shard: str, number: int) -> None:
    number %= 10**10
    name = application_name(pod, number, shard)
    assert len(name) <= NAME_LIMIT, "Postgres would cut off the number"
    assert leadership_of(name) == (shard, number)


@pytest.mark.parametrize("name", ["psql", "tenantry:pod", "tenantry:pod:", "tenantry:pod:a:b:1", "tenantry:pod::1"])
def test_other_sessions_are_of_no_operator(name: str) -> None:
    assert leadership_of(name) is None


def test_each_shard_has_a_lease_of_its_own() -> None:
    assert (Shard().lease_name, Shard("eu").lease_name) == ("tenantry-operator", "tenantry-operator-eu")
    assert Shard(others=frozenset({"eu"})).lease_name == "tenantry-operator"


def test_the_settings_name_the_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENANTRY_SHARDS", "eu, us-1,")
    assert OperatorSettings().own == Shard(others=frozenset({"eu", "us-1"}))
    monkeypatch.setenv("TENANTRY_SHARD", "eu")
    assert OperatorSettings().own.selector == "tenantry.dev/shard=eu"


@pytest.mark.parametrize("wrong", ["EU", "1st", "a:b", "x" * 21, "end-"])
def test_a_shard_that_does_not_fit_into_names_is_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("TENANTRY_SHARD", "TENANTRY_SHARDS"):
        monkeypatch.setenv(variable, wrong)
        with pytest.raises(ValidationError):
            OperatorSettings()
        monkeypatch.delenv(variable)


def test_a_shard_follows_its_own_tenants_and_no_runs() -> None:
    followed = {one.resource.kind: one for one in watched_resources(OperatorSettings(shard="eu"), ObjectCache())}
    assert followed["Tenant"].labels == "tenantry.dev/shard=eu"
    assert not {"MigrationRun", "ServiceDeployment", "HTTPRoute", "Deployment"} & followed.keys()
    assert {"DatabaseServer", "Secret", "Namespace"} <= followed.keys()
    whole = {one.resource.kind: one for one in watched_resources(OperatorSettings(shards=("eu",)), ObjectCache())}
    assert whole["Tenant"].labels == "", "a MigrationRun moves the Tenants of all shards"
