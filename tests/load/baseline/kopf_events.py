"""A bare kopf operator: it follows the Tenants and keeps nothing. It imports nothing of the project.

Prints one line when it has seen as many Tenants as the environment's EXPECTED says. The cluster is KUBECONFIG's.
"""

import asyncio
import os
import sys
from typing import Any

import kopf

EXPECTED = int(os.environ["EXPECTED"])
seen: set[str] = set()


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.enabled = False


@kopf.on.event("tenantry.dev", "v1alpha1", "tenants")
async def follow(name: str, **_: Any) -> None:
    if len(seen) >= EXPECTED:
        return
    seen.add(name)
    if len(seen) == EXPECTED:
        seen.add("")
        sys.stdout.write("seen\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(kopf.operator(standalone=True, clusterwide=True, identity="bare"))
