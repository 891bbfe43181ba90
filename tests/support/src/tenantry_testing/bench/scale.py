"""How large a figure is measured: as promised, unless somebody asks for less."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """What was asked for on the command line; None is what the figure itself says."""

    tenants: int | None = None
    pairs: int | None = None

    def size(self, promised: int) -> int:
        return promised if self.tenants is None else self.tenants

    def repeat(self, promised: int) -> int:
        return promised if self.pairs is None else self.pairs


def names(prefix: str, count: int) -> Sequence[str]:
    """Names that sort as they are numbered."""
    return [f"{prefix}-{number:05}" for number in range(count)]
