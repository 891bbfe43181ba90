"""Keyset pages over HTTP: stable while rows come and go, and cursors that nobody else can use."""

import re

import pytest

from tenantry_testing.accounts_world import CURSOR_KEY


async def _make(service, tenant, *names):
    for name in names:
        made = await service.client.post("/v1/users", json={"email": f"{name}@example.com"}, headers=tenant.headers)
        assert made.status_code == 201


async def _page(service, tenant, **query):
    answer = await service.client.get("/v1/users", params=query, headers=tenant.headers)
    assert answer.status_code == 200, answer.text
    return [item["email"].split("@")[0] for item in answer.json()["items"]], answer.json()["next_cursor"], answer


async def test_pages_follow_the_order_of_making_and_end_with_null(accounts_world):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service() as service:
        assert (await _page(service, tenant))[:2] == ([], None)
        await _make(service, tenant, "a", "b", "c", "d")
        first, cursor, _ = await _page(service, tenant, limit=2)
        second, end, answer = await _page(service, tenant, limit=2, cursor=cursor)
    assert (first, second, end) == (["a", "b"], ["c", "d"], None)
    assert "link" not in answer.headers


async def test_rows_that_come_and_go_neither_shift_nor_repeat_what_follows(accounts_world):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service() as service:
        await _make(service, tenant, "a", "b", "c", "d", "e")
        first, cursor, answer = await _page(service, tenant, limit=2)
        gone = answer.json()["items"]
        for user in gone:  # even the row that the cursor names
            await service.client.delete(f"/v1/users/{user['id']}", headers=tenant.headers)
        await _make(service, tenant, "f")
        second, cursor, _ = await _page(service, tenant, limit=2, cursor=cursor)
        third, end, _ = await _page(service, tenant, limit=2, cursor=cursor)
    assert (first, second, third, end) == (["a", "b"], ["c", "d"], ["e", "f"], None)


async def test_the_link_header_leads_to_the_next_page(accounts_world):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service() as service:
        await _make(service, tenant, "a", "b")
        _, _, answer = await _page(service, tenant, limit=1)
        link = re.fullmatch(r'<(.+)>; rel="next"', answer.headers["link"])
        following = await service.client.get(link[1], headers=tenant.headers)
    assert [item["email"] for item in following.json()["items"]] == ["b@example.com"]


async def test_a_cursor_of_another_tenant_or_a_changed_one_is_refused(accounts_world):
    tenant, other = accounts_world.add_tenant(), accounts_world.add_tenant()
    async with accounts_world.service() as service:
        await _make(service, tenant, "a", "b")
        _, cursor, _ = await _page(service, tenant, limit=1)
        changed = cursor[:10] + ("A" if cursor[10] != "A" else "B") + cursor[11:]
        for who, what in ((other, cursor), (tenant, changed), (tenant, cursor + "=")):
            answer = await service.client.get("/v1/users", params={"cursor": what}, headers=who.headers)
            assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid-cursor")


async def test_a_replaced_cursor_key_is_taken_up_and_ends_old_cursors(accounts_world, tmp_path):
    tenant = accounts_world.add_tenant()
    key_file = tmp_path / "cursor-key"
    key_file.write_text(CURSOR_KEY + "\n")
    async with accounts_world.service(cursor_key=None, cursor_key_file=key_file) as service:
        clock = [0.0]
        service.components.cursors._key._monotonic = lambda: clock[0]
        await _make(service, tenant, "a", "b")
        _, cursor, _ = await _page(service, tenant, limit=1)
        assert (await _page(service, tenant, limit=1, cursor=cursor))[0] == ["b"]
        key_file.write_text("another-key-of-at-least-32-characters")
        clock[0] = 1e9
        old = await service.client.get("/v1/users", params={"cursor": cursor}, headers=tenant.headers)
        assert old.json()["type"] == "/problems/invalid-cursor"
        _, fresh, _ = await _page(service, tenant, limit=1)
        assert (await _page(service, tenant, limit=1, cursor=fresh))[0] == ["b"]


@pytest.mark.parametrize("limit", [1, 200])
async def test_the_limit_is_kept(accounts_world, limit):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service() as service:
        await _make(service, tenant, "a", "b")
        rows, _, _ = await _page(service, tenant, limit=limit)
    assert len(rows) == min(limit, 2)
