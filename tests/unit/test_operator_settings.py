"""Settings: environment variables, refused with their names when they make no sense."""

import pytest
from pydantic import ValidationError

from tenantry_operator.settings import LogFormat, OperatorSettings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TENANTRY_NAMESPACE", "TENANTRY_POD_NAME", "TENANTRY_WORKERS", "TENANTRY_KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)


def test_an_empty_environment_is_enough() -> None:
    settings = OperatorSettings()
    assert settings.namespace == "tenantry-system"
    assert settings.pod_name, "the host's name, which in a pod is the pod's"


def test_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENANTRY_NAMESPACE", "elsewhere")
    monkeypatch.setenv("TENANTRY_LOG_FORMAT", "pretty")
    assert OperatorSettings().namespace == "elsewhere"
    assert OperatorSettings().log_format is LogFormat.PRETTY


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TENANTRY_WORKERS", "0"),
        ("TENANTRY_WORKERS", "many"),
        ("TENANTRY_SWEEP_INTERVAL", "0"),
        ("TENANTRY_HTTP_PORT", "70000"),
        ("TENANTRY_LOG_LEVEL", "loud"),
        ("TENANTRY_LEASE_RENEW_DEADLINE", "15"),
        ("TENANTRY_STUCK_AFTER", "130"),
    ],
)
def test_what_makes_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        OperatorSettings()
