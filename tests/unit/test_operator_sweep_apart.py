"""Databases of tenants are entered in turn, a few in each sweep."""

import pytest

from tenantry_operator.clients.postgres import Servers
from tenantry_operator.metrics import Metrics
from tenantry_operator.reconcile import tenant_sweep_apart
from tenantry_operator.reconcile.tenant_isolation import IsolationWatch
from tenantry_operator.reconcile.tenant_sweep_apart import ApartSweep
from tenantry_operator.settings import OperatorSettings
from tenantry_testing.fake_clock import FakeClock


def test_each_has_its_turn_and_comes_and_goes_disturb_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenant_sweep_apart, "IN_TURN", 2)
    servers = Servers("test")
    watch = IsolationWatch(servers, settings=OperatorSettings(), clock=FakeClock(), metrics=Metrics())
    sweep = ApartSweep(servers, watch)
    turns = [list(sweep._turn("primary", names)) for names in (["a", "b", "c"], ["c", "b", "a"], ["a", "d"], ["a"], [])]
    assert turns == [["a", "b"], ["c", "a"], ["d", "a"], ["a"], []]
    assert list(sweep._turn("another", ["x"])) == ["x"]
