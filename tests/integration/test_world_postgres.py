"""The tests' own Postgres server is what the tests take it for."""

import psycopg
import pytest

from tenantry_cluster.controlplane import ControlPlane
from tenantry_testing.postgres import PostgresServer


def test_the_operators_login_is_no_superuser_and_owns_its_databases(postgres: PostgresServer) -> None:
    login = postgres.make_operator("world_operator", databases=("world_app",))
    with postgres.connect("world_app", login) as connection:
        row = connection.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, pg_has_role('pg_signal_backend', 'MEMBER'),"
            " (SELECT datdba = r.oid FROM pg_database WHERE datname = current_database())"
            " FROM pg_roles r WHERE rolname = current_user"
        ).fetchone()
    assert row == (False, True, True, True, True)


def test_a_session_without_tls_is_refused(postgres: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        psycopg.connect(postgres.url().replace("verify-full", "disable"))


def test_what_was_there_before_an_outage_is_there_after_it() -> None:
    with PostgresServer() as server:
        server.make_database("kept", owner="postgres")
        server.stop()
        with pytest.raises(psycopg.OperationalError):
            server.connect()
        server.start()
        server.connect("kept").close()
        folder = server.folder
    assert not folder.exists()


def test_the_api_server_serves_our_resources(control_plane: ControlPlane) -> None:
    requests = [event for event in control_plane.audited() if "customresourcedefinitions" in str(event)]
    assert requests
