"""The models parse what an API server sends and write what it takes."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from tenantry_crds import Condition, DatabaseServer, Reason, ServiceDeployment, Tenant, TenantStatus, absent
from tenantry_crds.reasontable import TABLE
from tenantry_testing.crd_examples import FUTURE_TEMPLATE, example


def test_metadata_of_a_real_object_is_read_and_the_rest_ignored() -> None:
    body = example("Tenant", "acme")
    body["metadata"] = {"name": "acme", "uid": "u", "generation": 3, "managedFields": [{"manager": "kubectl"}]}
    tenant = Tenant.model_validate({**body, "status": {"observedGeneration": -1}})
    assert (tenant.metadata.name, tenant.metadata.uid, tenant.metadata.generation) == ("acme", "u", 3)
    assert tenant.status.observed_generation == -1
    assert not tenant.metadata.is_terminating


def test_an_object_without_status_has_the_status_before_the_first_pass() -> None:
    assert Tenant.model_validate(example("Tenant", "acme")).status == TenantStatus(observed_generation=-1)


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="colour"):
        Tenant.model_validate(example("Tenant", "acme", colour="red"))


def test_a_status_is_written_in_camel_case_without_what_is_absent() -> None:
    condition = Condition(
        type="Ready",
        status="True",
        observed_generation=2,
        last_transition_time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        reason=Reason.PROVISIONED,
        message="All is in place.",
    )
    status = TenantStatus(observed_generation=2, schema_name="t_acme", conditions=(condition,))
    written = status.model_dump(by_alias=True, exclude_none=True, mode="json")
    assert written == {
        "observedGeneration": 2,
        "schema": "t_acme",
        "roles": [],
        "drift": [],
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "observedGeneration": 2,
                "lastTransitionTime": "2026-01-02T03:04:05Z",
                "reason": "Provisioned",
                "message": "All is in place.",
            }
        ],
    }
    assert TenantStatus.model_validate(written) == status


def test_an_absent_field_of_a_tenant_means() -> None:
    spec = Tenant.model_validate(example("Tenant", "acme")).spec
    assert absent.effective(spec, "acme").model_dump(by_alias=True, mode="json") == {
        "connectionLimit": 20,
        "settings": {
            "statement_timeout": "30s",
            "idle_in_transaction_session_timeout": "60s",
            "lock_timeout": "5s",
        },
        "readOnlyRole": "Disabled",
        "extensions": [],
        "adoptionPolicy": "IfMarked",
        "migrations": {"wave": None, "hold": False},
        "lifecycle": "Active",
        "rotation": {"interval": "720h", "overlap": "1h"},
        "deletionPolicy": "Retain",
        "deletionProtection": "Enabled",
        "driftPolicy": "Repair",
        "namespace": None,
        "backup": None,
    }
    assert absent.secret_name(spec, "acme") == "acme-database"


def test_a_given_field_of_a_tenant_wins_and_leaves_the_others() -> None:
    database = {"connectionLimit": 5, "settings": {"lock_timeout": "1s", "work_mem": "8MB"}}
    body = example("Tenant", "acme", database=database, credentials={"secretName": "mine"}, deletionPolicy="Delete")
    spec = Tenant.model_validate(body).spec
    settings = absent.settings(spec)
    assert (settings["lock_timeout"], settings["work_mem"], settings["statement_timeout"]) == ("1s", "8MB", "30s")
    assert (absent.connection_limit(spec), absent.secret_name(spec, "acme")) == (5, "mine")
    assert absent.deletion_policy(spec) == "Delete"


def test_an_absent_field_of_a_namespace_means() -> None:
    spec = Tenant.model_validate(example("Tenant", "acme", namespace={})).spec
    effective = absent.effective(spec, "acme").namespace
    assert effective is not None
    assert effective.model_dump(by_alias=True, mode="json") == {
        "name": "acme",
        "networkPolicy": "DefaultDeny",
        "podSecurity": "restricted",
    }


def test_an_absent_field_of_a_server_means() -> None:
    spec = DatabaseServer.model_validate(example("DatabaseServer", "primary")).spec
    assert (absent.port(spec), absent.tls_mode(spec), absent.ca_key(spec)) == (5432, "verify-full", "ca.crt")
    assert (absent.is_default(spec), absent.operator_connections(spec)) == (False, 8)


def test_an_absent_field_of_a_service_means() -> None:
    spec = ServiceDeployment.model_validate(example("ServiceDeployment", "web", replicas=None)).spec
    assert (absent.replicas(spec), absent.drain_seconds(spec), absent.target_port(spec)) == (1, 15, 8000)
    assert (absent.progress_deadline_seconds(spec), absent.revision_history_limit(spec)) == (600, 3)
    assert (absent.strategy(spec), absent.path_prefix(spec)) == ("Rolling", "/")


def test_zero_is_a_value_and_not_an_absence() -> None:
    body = example("ServiceDeployment", "web", replicas=0, traffic={"drainSeconds": 0}, revisionHistoryLimit=0)
    spec = ServiceDeployment.model_validate(body).spec
    assert (absent.replicas(spec), absent.drain_seconds(spec), absent.revision_history_limit(spec)) == (0, 0, 0)


def test_a_pod_template_stays_as_the_user_wrote_it() -> None:
    service = ServiceDeployment.model_validate(example("ServiceDeployment", "web", template=FUTURE_TEMPLATE))
    assert service.spec.template == FUTURE_TEMPLATE


def test_every_reason_stands_once_in_the_table() -> None:
    assert [entry.reason for entry in TABLE if entry.meaning and entry.remedy] == list(dict.fromkeys(Reason))
