"""What to do about a Tenant's Secret, and what it says."""

import hashlib
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from tenantry_crds.reasons import Reason
from tenantry_operator.model.tenant import DesiredTenant, ObservedSecret, ObservedTenant, Place
from tenantry_operator.plan.actions import DeleteSecret, SetPassword, TenantAction, WriteSecret

LONGEST_PASSWORD: Final = 512


def applied_mark(oid: int, password: str) -> str:
    """Make the annotation that says: this role was given this password.

    Without superuser rights nobody can ask Postgres for a role's verifier, so the Secret remembers. A role that was
    made anew has another oid, an edited Secret another password; either shows.
    """
    return f"{oid}:{hashlib.sha256(password.encode()).hexdigest()[:32]}"


def binding(place: Place, *, schema: str, username: str, password: str) -> dict[str, str]:
    """Return the keys of the Service Binding convention."""
    host = f"[{place.host}]" if ":" in place.host else place.host
    uri = f"postgresql://{quote(username)}:{quote(password, safe='')}@{host}:{place.port}/{quote(place.database)}"
    data = {
        "type": "postgresql",
        "provider": "tenantry",
        "host": place.host,
        "port": str(place.port),
        "database": place.database,
        "schema": schema,
        "username": username,
        "password": password,
        "sslmode": place.sslmode,
        "uri": f"{uri}?sslmode={place.sslmode}",
    }
    return data | ({"ca.crt": place.ca_pem} if place.ca_pem else {})


def tenant_binding(desired: DesiredTenant, password: str) -> dict[str, str]:
    names = desired.names
    return binding(desired.place, schema=names.schema, username=names.login, password=password)


def usable_password(data: Mapping[str, str]) -> str | None:
    """Return the password in a Secret, unless nobody could log in with it."""
    password = data.get("password", "")
    return password if 0 < len(password) <= LONGEST_PASSWORD and password.isprintable() and password.isascii() else None


def secret_refusal(observed: ObservedTenant) -> tuple[Reason, str] | None:
    secret = observed.secret
    if secret is None or secret.ours:
        return None
    said = (
        f"Secret {secret.namespace}/{secret.name} exists and was not made for this Tenant; it is left as it is. "
        "Rename it, or choose another spec.credentials.secretName"
    )
    return Reason.NOT_OURS, said


def secret_actions(desired: DesiredTenant, observed: ObservedTenant) -> tuple[TenantAction, ...]:
    """Give the role the password before the Secret says so: a crash between the two only repeats both."""
    return (*_password(desired, observed), *_content(desired, observed), *_stale(observed))


def _password(desired: DesiredTenant, observed: ObservedTenant) -> tuple[TenantAction, ...]:
    why = _why_password(desired, observed)
    return (SetPassword(role=desired.names.login, reason=why),) if why else ()


def _why_password(desired: DesiredTenant, observed: ObservedTenant) -> str | None:
    login = observed.catalogue.roles.get(desired.names.login)
    if login is None:
        return "the login has no password yet"
    if observed.secret is None:
        return "the Secret with the password is gone"
    password = usable_password(observed.secret.data)
    if password is None:
        return "the Secret has no password that can be used"
    if observed.secret.applied != applied_mark(login.oid, password):
        return "the Secret's password is not known to be the login's"
    return None


def _content(desired: DesiredTenant, observed: ObservedTenant) -> tuple[TenantAction, ...]:
    why = _why_content(desired, observed.secret) or _why_password(desired, observed)
    if why is None:
        return ()
    name, namespace = desired.secret_name, desired.secret_namespace
    return (WriteSecret(name=name, namespace=namespace, observed=observed.secret, reason=why),)


def _why_content(desired: DesiredTenant, secret: ObservedSecret | None) -> str | None:
    if secret is None:
        return "there is no Secret"
    wanted = tenant_binding(desired, usable_password(secret.data) or "")
    wrong = sorted(key for key in {*wanted, *secret.data} if wanted.get(key) != secret.data.get(key))
    return f"the Secret is wrong in {', '.join(wrong)}" if wrong else None


def _stale(observed: ObservedTenant) -> tuple[TenantAction, ...]:
    why = "spec.credentials.secretName names another Secret now"
    return tuple(DeleteSecret(observed=secret, reason=why) for secret in observed.stale_secrets)
