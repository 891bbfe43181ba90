"""The running system as tests have it: programs, addresses, Tenants of their own."""

import base64
import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
import pytest
import yaml
from psycopg import sql

from tenantry_cluster import Layout
from tenantry_testing.demo.callers import create_key
from tenantry_testing.demo.conditions import wait_ready
from tenantry_testing.demo.facts import registry_url
from tenantry_testing.demo.programs import ProgramFailed, Programs
from tenantry_testing.demo.record import DemoRecord


@dataclass(frozen=True)
class Running:
    """The system under test, as a user at the machine's shell has it."""

    record: DemoRecord
    programs: Programs
    layout: Layout

    @property
    def kubeconfig(self) -> Path:
        return self.programs.kubeconfig

    @property
    def gateway_url(self) -> str:
        return self.record.gateway_url

    @property
    def postgres_url(self) -> str:
        """An administrator's, of the database that Tenants are in."""
        return self.record.postgres_url

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 100.0) -> str:
        """What kubectl prints. Raises ProgramFailed with what it printed when it ends with another code than 0."""
        return self.programs.kubectl(*arguments, stdin=stdin, timeout=timeout)

    def helm(self, *arguments: str, timeout: float = 100.0) -> str:
        return self.programs.helm(*arguments, timeout=timeout)

    def refused(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl says when it does not succeed; fails the test when it does."""
        try:
            said = self.kubectl(*arguments, stdin=stdin)
        except ProgramFailed as failure:
            return failure.output
        pytest.fail(f"kubectl {' '.join(arguments)} was not refused: {said}")


@dataclass(frozen=True)
class MadeTenant:
    """A Tenant of one test. `login_url` is the customer's own way in, taken from its Secret."""

    name: str
    running: Running

    def secret(self) -> dict[str, str]:
        found = self.running.programs.object("secret", f"{self.name}-database", "--namespace=tenantry-system")
        return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}

    def login_url(self) -> str:
        """The Secret's user, password and database at the address that works from this machine."""
        secret = self.secret()
        administrator = urlsplit(self.running.postgres_url)
        user = f"{quote(secret['username'])}:{quote(secret['password'])}"
        place = f"{user}@{administrator.hostname}:{administrator.port}"
        return urlunsplit(administrator._replace(netloc=place, path=f"/{secret['database']}"))

    def create_key(self) -> str:
        return create_key(self.running.programs, self.name, registry_url=registry_url(self.running.postgres_url))

    def patch(self, patch: dict[str, object]) -> None:
        self.running.kubectl("patch", "tenant", self.name, "--type=merge", "--patch", json.dumps({"spec": patch}))

    def wait_ready(self) -> None:
        wait_ready(self.running.programs, f"tenant/{self.name}", seconds=60)

    def delete(self, *, policy: str = "Delete") -> None:
        self.patch({"deletionProtection": "Disabled", "deletionPolicy": policy})
        self.running.kubectl("delete", "tenant", self.name, "--timeout=60s")


def tenant_manifest(name: str, **spec: object) -> str:
    body = {
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": name},
        "spec": {"displayName": f"Made by a test: {name}", "isolation": "Schema", **spec},
    }
    return yaml.safe_dump(body)


def remove_tenant(tenant: MadeTenant) -> None:
    """Delete the Tenant with its data; a Tenant whose data was retained is taken up first, to be dropped."""
    tenant.running.kubectl("apply", "-f", "-", stdin=tenant_manifest(tenant.name))
    tenant.wait_ready()
    tenant.delete()


def make_notes(tenant: MadeTenant) -> None:
    """Make a table `notes` in the customer's schema, as the customer does it."""
    owner = sql.Identifier(f"t_{tenant.name.replace('-', '_')}_owner")
    with closing(psycopg.connect(tenant.login_url(), autocommit=True, connect_timeout=10)) as login:
        login.execute(sql.SQL("SET ROLE {}").format(owner))
        login.execute("CREATE TABLE notes (id int PRIMARY KEY, text text)")
