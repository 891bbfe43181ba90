import hashlib

import pytest

from tenantry_kit.keys import ALPHABET, MalformedKey, create_key, parse_key, secret_matches


def test_a_new_key_has_the_documented_form_and_parses_to_itself():
    key = create_key("live")
    assert key.text.startswith("tk_live_")
    assert len(key.text) == len("tk_live_") + 16 + 43 + 6
    assert parse_key(key.text) == key


def test_the_form_is_fixed_for_ever():
    """A key that was handed out must parse in every later version."""
    key = create_key("dev", random_below=lambda _: 0)
    assert key.text == "tk_dev_" + "0" * 59 + "2zDTCh"
    assert parse_key(key.text) == key


def test_only_the_hash_of_the_secret_is_stored_and_the_secret_stays_out_of_repr():
    key = create_key("live")
    assert key.secret_hash == hashlib.sha256(key.secret.encode()).digest()
    assert key.secret not in repr(key)
    assert secret_matches(key.secret, key.secret_hash)
    assert not secret_matches(create_key("live").secret, key.secret_hash)


@pytest.mark.parametrize("environment", ["", "a", "LIVE", "production", "li ve", "live\n", "lïve"])
def test_an_environment_is_2_to_8_letters(environment):
    with pytest.raises(MalformedKey):
        create_key(environment)


@pytest.mark.parametrize("position", range(0, 73, 6))
def test_one_changed_character_is_refused_without_naming_the_key(position):
    text = create_key("live").text
    other = ALPHABET[(ALPHABET.find(text[position]) + 1) % 62]
    changed = text[:position] + other + text[position + 1 :]
    with pytest.raises(MalformedKey) as refused:
        parse_key(changed)
    assert text[8:24] not in str(refused.value)


@pytest.mark.parametrize("text", ["", "tk_live_", "tk__" + "0" * 65, "tk_live_" + "0" * 65, "é" * 73])
def test_what_is_no_key_is_refused(text):
    with pytest.raises(MalformedKey):
        parse_key(text)


def test_surroundings_are_not_stripped():
    with pytest.raises(MalformedKey):
        parse_key(create_key("live").text + "\n")
