"""Notices a cluster whose definitions are older than this operator, and says so before anything is lost by it."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from tenantry_crds.outdated import Finding, findings
from tenantry_crds.reasons import Reason
from tenantry_operator.clients.kube import ApiError, Kube
from tenantry_operator.metrics import Metrics
from tenantry_operator.observe.definitions import read_definitions

logger = logging.getLogger(__name__)

INTERVAL: Final = 3600.0
"""Seconds between two looks while all is well."""

SOON: Final = 60.0
"""Seconds until the next look when something is outdated, or could not be asked."""


class Definitions:
    """Compares what the cluster serves with what this version was made for: at start and every hour.

    An outdated definition is told by a line of the log at each look, by the metric ``tenantry_crd_outdated``, and by
    an Event on the definition when what is lacking changes. The operator goes on working: what the old definition
    knows is kept as before, and a cluster that stands still would help nobody.
    """

    def __init__(self, kube: Kube, metrics: Metrics) -> None:
        self._kube = kube
        self._metrics = metrics
        self._told: dict[str, Finding] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:  # noqa: ASYNC110  nobody tells us that a definition changed
            await asyncio.sleep(SOON if await self.look() else INTERVAL)

    async def look(self) -> bool:
        """Look once; say whether to look again soon. Raises nothing that is expected."""
        try:
            return await self._look()
        except ApiError as error:
            logger.warning("the definitions cannot be read", extra={"error": str(error)})
            return True

    async def _look(self) -> bool:
        served = await read_definitions(self._kube)
        found = findings(served)
        for one in found:
            self._metrics.crd_outdated.labels(one.definition).set(int(one.is_outdated))
        outdated = [one for one in found if one.is_outdated]
        for one in outdated:
            logger.error("a definition is older than this operator", extra={"crd": one.definition, "error": one.said()})
            body = served[one.definition]
            if body is not None and self._told.get(one.definition) != one:
                message = f"{one.said()}. Upgrade the chart tenantry-crds."
                await self._kube.event(
                    about=body, type="Warning", reason=Reason.CRD_OUTDATED, message=message, action="Check"
                )
        self._told = _by_name(outdated)
        return bool(outdated)


def _by_name(outdated: Sequence[Finding]) -> dict[str, Finding]:
    return {one.definition: one for one in outdated}
