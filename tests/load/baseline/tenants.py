"""The raw script: provisions N tenants with the given SQL, one Secret and one status write each, and nothing else.

It is what a careful engineer would write for one night's migration: asyncio, a pool, pipelines, no reconciling, no
checks, no repair. It imports nothing of the project. It reads a job from a JSON file and prints its samples as JSON:

    python tests/load/baseline/tenants.py job.json

The job: `databases` (name to URL), `connections` (of each pool), `concurrency`, `api` (url, ca, certificate and key
files), `namespace`, and `tenants`: a list of {name, batches, secret, status}. A batch is {database, session, pipeline,
statements: [[sql, [parameter, …]], …]}; batches of one `session` run on one connection, in order.
"""

import asyncio
import json
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psycopg

Job = dict[str, Any]
Connection = psycopg.AsyncConnection[Any]


class Pool:
    """A fixed number of open connections, lent one at a time."""

    def __init__(self) -> None:
        self._free: asyncio.Queue[Connection] = asyncio.Queue()

    async def open(self, url: str, size: int) -> None:
        for _ in range(size):
            self._free.put_nowait(await psycopg.AsyncConnection.connect(url, autocommit=True))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        connection = await self._free.get()
        try:
            yield connection
        finally:
            self._free.put_nowait(connection)

    async def close(self) -> None:
        while not self._free.empty():
            await self._free.get_nowait().close()


Pools = dict[str, Pool]


async def play_sql(tenant: Job, pools: Pools) -> int:
    """Run the tenant's batches; return the number of statements."""
    count = 0
    async with AsyncExitStack() as stack:
        sessions: dict[str, Connection] = {}
        for batch in tenant["batches"]:
            key = batch["session"]
            if key not in sessions:
                sessions[key] = await stack.enter_async_context(pools[batch["database"]].connection())
            await play_batch(batch, sessions[key])
            count += len(batch["statements"])
    return count


async def play_batch(batch: Job, connection: Connection) -> None:
    cursor = psycopg.AsyncRawCursor(connection)
    async with AsyncExitStack() as stack:
        if batch["pipeline"]:
            await stack.enter_async_context(connection.pipeline())
        for statement, parameters in batch["statements"]:
            await cursor.execute(statement.encode(), parameters or None)


async def write_objects(tenant: Job, job: Job, session: aiohttp.ClientSession) -> None:
    """One POST of the Secret, one PATCH of the Tenant's status: the fewest API calls that leave the same objects."""
    secrets = f"{job['api']['url']}/api/v1/namespaces/{job['namespace']}/secrets"
    async with session.post(secrets, json=tenant["secret"]) as response:
        response.raise_for_status()
    status = f"{job['api']['url']}/apis/tenantry.dev/v1alpha1/tenants/{tenant['name']}/status"
    headers = {"Content-Type": "application/merge-patch+json"}
    async with session.patch(status, data=json.dumps({"status": tenant["status"]}), headers=headers) as response:
        response.raise_for_status()


async def provision(
    tenant: Job, job: Job, pools: Pools, *, session: aiohttp.ClientSession, turn: asyncio.Semaphore
) -> Job:
    async with turn:
        started = time.monotonic()
        statements = await play_sql(tenant, pools)
        await write_objects(tenant, job, session)
        return {"name": tenant["name"], "seconds": time.monotonic() - started, "statements": statements}


async def open_pools(job: Job, stack: AsyncExitStack) -> Pools:
    pools: Pools = {}
    for name, url in job["databases"].items():
        pools[name] = Pool()
        stack.push_async_callback(pools[name].close)
        await pools[name].open(url, job["connections"])
    return pools


def client_context(api: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=api["ca"])
    context.load_cert_chain(api["certificate"], api["key"])
    return context


async def run(job: Job) -> Job:
    """The clock starts when pools and session are open: the operator's are, too, when Tenants come."""
    async with AsyncExitStack() as stack:
        pools = await open_pools(job, stack)
        connector = aiohttp.TCPConnector(ssl=client_context(job["api"]), limit=job["concurrency"])
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector, trust_env=False))
        turn = asyncio.Semaphore(job["concurrency"])
        started = time.monotonic()
        work = (provision(tenant, job, pools, session=session, turn=turn) for tenant in job["tenants"])
        tenants = await asyncio.gather(*work)
        return {"seconds": time.monotonic() - started, "tenants": tenants}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(run(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))))
