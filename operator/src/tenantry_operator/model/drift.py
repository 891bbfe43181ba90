"""How a difference that nobody asked for is told from one that the spec asks for, and what is done about it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tenantry_operator.model.tenant import DesiredTenant


@dataclass(frozen=True)
class DriftRule:
    """`before` and `unknown` are both empty while the spec is the one that was applied last."""

    report: bool = False
    """Whether drift is only told, and not repaired."""
    applied: str = ""
    """What a pass records as applied: the part of the spec that something is made of."""
    before: "DesiredTenant | None" = None
    """What the spec that was applied last asks for, if it is another one."""
    unknown: bool = False
    """The spec that was applied last is another one, or meant something else, and is not known any more."""


NO_RULE: Final = DriftRule()
