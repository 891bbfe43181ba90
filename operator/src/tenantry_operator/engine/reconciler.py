"""What the engine asks of a reconciler."""

from collections.abc import AsyncIterator
from typing import Protocol

from tenantry_operator.engine.queue import Key, Result


class Reconciler(Protocol):
    """Makes one kind of object true."""

    @property
    def kind(self) -> str: ...

    async def reconcile(self, key: Key) -> Result:
        """Run one pass. Errors that are expected end in a failed Result; anything raised is logged as a bug."""
        ...

    def sweep(self) -> AsyncIterator[Key]:
        """Yield the objects whose world differs from what they ask for; bulk reads only."""
        ...
