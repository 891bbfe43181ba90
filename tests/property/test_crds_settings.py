"""A setting that the schema takes is one that Postgres takes."""

import re

from hypothesis import given
from hypothesis import strategies as st

from tenantry_crds.tenantdatabase import MEMORY, TIMEOUT

MILLISECONDS = {"": 1, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000}
KILOBYTES = {"kB": 1, "MB": 1024, "GB": 1024**2}


def amount(value: str, units: dict[str, int]) -> int:
    digits, unit = re.fullmatch(r"([0-9]+)([A-Za-z]*)", value).groups()  # type: ignore[union-attr]
    return int(digits) * units[unit]


@given(st.from_regex(TIMEOUT, fullmatch=True, alphabet=st.characters(codec="ascii")))
def test_a_timeout_fits_the_milliseconds_of_postgres(value: str) -> None:
    assert 0 <= amount(value.strip(), MILLISECONDS) < 2**31


@given(st.from_regex(MEMORY, fullmatch=True, alphabet=st.characters(codec="ascii")))
def test_a_memory_size_fits_the_kilobytes_of_postgres(value: str) -> None:
    assert 64 <= amount(value.strip(), KILOBYTES) < 2**31
