"""What to do about a Tenant's Secret, and what it says."""

import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote

from tenantry_crds.reasons import Reason
from tenantry_operator.model.credentials import applied_mark
from tenantry_operator.model.tenant import DesiredTenant, ObservedTenant, Place
from tenantry_operator.plan.actions import DeleteSecret, ResetPassword, SetPassword, TenantAction, WriteSecret
from tenantry_operator.plan.endpoints import endpoint_keys, in_templates, reached_by_tenants, written
from tenantry_operator.plan.tenant_rotation import Rotation, remembered

PASSWORD: Final = re.compile(r"[-\w]{43,512}", re.ASCII)
"""What we make has 43 of these; nothing that is easier to guess becomes a login's."""


def binding(place: Place, *, schema: str, username: str, password: str) -> dict[str, str]:
    """Return the keys of the Service Binding convention."""
    host, who = written(place.host), f"{quote(username)}:{quote(password, safe='')}"
    uri = f"postgresql://{who}@{host}:{place.port}/{quote(place.database)}"
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


def tenant_binding(desired: DesiredTenant, login: str, password: str) -> dict[str, str]:
    """Return all that the tenant's Secret holds, with the keys of its template."""
    place, template = desired.place, desired.credentials.template
    data = binding(reached_by_tenants(place), schema=desired.layout.customers.schema, username=login, password=password)
    data |= endpoint_keys(place, username=login, password=password)
    named = in_templates(data)
    return data | {key: _filled(text, named) for key, text in template.items() if key not in data}


def _filled(text: str, data: Mapping[str, str]) -> str:
    """Put the values of a Secret into a text of the template; what stands in braces there is a key of it."""
    return re.sub(r"\{(\w+)\}", lambda found: data.get(found[1], found[0]), text)


def usable_password(data: Mapping[str, str]) -> str | None:
    """Return the password in a Secret, unless it is weaker than those that we make, or nobody could log in with it."""
    password = data.get("password", "")
    return password if PASSWORD.fullmatch(password) else None


def secret_refusal(observed: ObservedTenant) -> tuple[Reason, str] | None:
    secret = observed.secret
    if secret is None or secret.ours:
        return None
    said = (
        f"Secret {secret.namespace}/{secret.name} exists and was not made for this Tenant; it is left as it is. "
        "Rename it, or choose another spec.credentials.secretName"
    )
    return Reason.NOT_OURS, said


def secret_actions(desired: DesiredTenant, observed: ObservedTenant, rotation: Rotation) -> tuple[TenantAction, ...]:
    """Give the login the password before the Secret says so: a crash between the two only repeats both."""
    return (
        *_password(desired, observed, rotation),
        *_content(desired, observed, rotation),
        *_stale(desired, observed),
    )


def _password(desired: DesiredTenant, observed: ObservedTenant, rotation: Rotation) -> tuple[TenantAction, ...]:
    why = _why_password(desired, observed, rotation)
    if why is not None:
        return (SetPassword(role=rotation.active, fresh=rotation.begun, reason=why),)
    if observed.refused_login == rotation.active:
        return (ResetPassword(role=rotation.active, reason=f"{rotation.active} has not the Secret's password"),)
    return ()


def _why_password(desired: DesiredTenant, observed: ObservedTenant, rotation: Rotation) -> str | None:
    if rotation.begun:
        return "it takes the place of the login before"
    login, memory = observed.catalogue.roles.get(rotation.active), remembered(desired, observed)
    if login is None:
        return "the login has no password yet"
    if memory is None:
        return "the Secret with the password is gone"
    password = usable_password(memory.data)
    if password is None:
        return "the Secret has no password that can be used"
    if memory.applied != applied_mark(login.oid, password):
        return "the Secret's password is not known to be the login's"
    return None


def _content(desired: DesiredTenant, observed: ObservedTenant, rotation: Rotation) -> tuple[TenantAction, ...]:
    why = _why_content(desired, observed, rotation) or _why_password(desired, observed, rotation)
    if why is None:
        return ()
    write = WriteSecret(
        name=desired.secret_name,
        namespace=desired.secret_namespace,
        login=rotation.active,
        notes=rotation.notes,
        observed=observed.secret,
        rotated=rotation.begun,
        lost=rotation.lost,
        reason=why,
    )
    return (write,)


def _why_content(desired: DesiredTenant, observed: ObservedTenant, rotation: Rotation) -> str | None:
    secret, memory = observed.secret, remembered(desired, observed)
    if secret is None or memory is None:
        return "there is no Secret"
    if rotation.begun:
        return "a rotation is due"
    if (secret.applied, secret.rotation) != (memory.applied, memory.rotation):
        return f"the Secret says something else than the one in {memory.namespace}"
    wanted = tenant_binding(desired, rotation.active, usable_password(memory.data) or "")
    wrong = sorted(key for key in {*wanted, *secret.data} if wanted.get(key) != secret.data.get(key))
    if wrong:
        return f"the Secret is wrong in {', '.join(wrong)}"
    return "the Secret does not say when it was rotated" if rotation.restated else None


def _stale(desired: DesiredTenant, observed: ObservedTenant) -> Iterator[TenantAction]:
    for secret in observed.stale_secrets:
        why = "spec.credentials.secretName names another Secret now"
        if secret.namespace != desired.secret_namespace:
            why = f"the Secret is in namespace {desired.secret_namespace} now"
        yield DeleteSecret(observed=secret, reason=why)
