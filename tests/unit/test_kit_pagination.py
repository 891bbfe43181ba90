from uuid import UUID, uuid4

import pytest

from tenantry_kit.pagination import Cursors, link_to_next
from tenantry_kit.problems import INVALID_CURSOR, Problem

CURSORS = Cursors(lambda: "a" * 32)
TENANT, ROW = uuid4(), uuid4()


def _refused(cursor, cursors=CURSORS, *, list_name="users", tenant_id=TENANT):
    with pytest.raises(Problem) as refused:
        cursors.read(cursor, list_name, tenant_id=tenant_id)
    return refused.value.type is INVALID_CURSOR


def test_a_cursor_leads_back_to_its_row():
    cursor = CURSORS.sign(ROW, "users", tenant_id=TENANT)
    assert CURSORS.read(cursor, "users", tenant_id=TENANT) == ROW
    assert ROW.hex not in cursor
    assert str(ROW) not in cursor


def test_a_cursor_belongs_to_one_tenant_one_list_and_one_key():
    cursor = CURSORS.sign(ROW, "users", tenant_id=TENANT)
    assert _refused(cursor, tenant_id=uuid4())
    assert _refused(cursor, list_name="organizations")
    assert _refused(cursor, Cursors(lambda: "b" * 32))


def test_each_changed_character_is_refused():
    cursor = CURSORS.sign(ROW, "users", tenant_id=TENANT)
    for position, character in enumerate(cursor):
        for other in "AQZaz09-_":
            if other != character:
                assert _refused(cursor[:position] + other + cursor[position + 1 :])


@pytest.mark.parametrize("cursor", ["", "A", "=", "é", "A" * 43, "A" * 44, "A" * 45, "\x00", " ", "AQ==", "a b"])
def test_what_is_no_cursor_is_refused(cursor):
    assert _refused(cursor)


def test_a_link_quotes_its_cursor():
    assert link_to_next("/v1/users", limit=2, cursor="a-_b") == '</v1/users?limit=2&cursor=a-_b>; rel="next"'


def test_positions_are_whole_ids():
    for number in (0, 2**128 - 1):
        row = UUID(int=number)
        assert CURSORS.read(CURSORS.sign(row, "users", tenant_id=TENANT), "users", tenant_id=TENANT) == row
