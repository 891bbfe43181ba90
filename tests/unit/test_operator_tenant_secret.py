"""The tenant's Secret: a password that is safe to store, and an address that parses."""

from dataclasses import replace
from urllib.parse import unquote, urlsplit

import pytest

from tenantry_operator.apply.passwords import _verifier, new_password
from tenantry_operator.model.credentials import applied_mark
from tenantry_operator.plan.tenant_secret import tenant_binding, usable_password
from tenantry_testing.tenant_damages import LOGIN, make_desired


def test_a_verifier_has_the_form_that_postgres_stores() -> None:
    salt = bytes.fromhex("5b6d996890f63c8d92b1b90e0f7a9f0c")
    verifier = _verifier("pencil", salt=salt)
    scheme, rounds_and_salt, keys = verifier.split("$")
    assert scheme == "SCRAM-SHA-256"
    assert rounds_and_salt.startswith("4096:")
    assert len(keys.split(":")) == 2
    assert "pencil" not in verifier
    assert verifier == _verifier("pencil", salt=salt)
    assert verifier != _verifier("pencil2", salt=salt)


def test_passwords_are_long_and_differ() -> None:
    made = {new_password() for _ in range(50)}
    assert len(made) == 50
    assert all(len(one) == 43 for one in made)


@pytest.mark.parametrize(
    "password", ["", "a", "x" * 42, "x" * 42 + "\n", "x" * 42 + "\0", "x" * 42 + "ä", "x y" * 20, "x" * 513]
)
def test_a_password_that_nobody_could_use_or_many_could_guess_is_made_anew(password: str) -> None:
    assert usable_password({"password": password}) is None


def test_one_of_ours_is_kept() -> None:
    made = new_password()
    assert usable_password({"password": made}) == made


def test_the_mark_shows_another_role_and_another_password() -> None:
    assert len({applied_mark(1, "a"), applied_mark(2, "a"), applied_mark(1, "b")}) == 3
    assert "secret" not in applied_mark(1, "secret")


@pytest.mark.parametrize("host", ["db.example", "10.0.0.1", "fd00::1"])
def test_the_uri_says_the_same_as_the_keys(host: str) -> None:
    desired = make_desired()
    data = tenant_binding(replace(desired, place=replace(desired.place, host=host)), LOGIN, "p@ss/w:rd?#")
    parts = urlsplit(data["uri"])
    assert (parts.hostname, str(parts.port), parts.path) == (host, data["port"], f"/{data['database']}")
    assert (unquote(parts.username or ""), unquote(parts.password or "")) == (data["username"], "p@ss/w:rd?#")
