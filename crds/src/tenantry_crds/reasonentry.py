"""One row of the table of reasons."""

from dataclasses import dataclass

from tenantry_crds.conditions import ConditionType as C
from tenantry_crds.reasons import Reason


@dataclass(frozen=True)
class Entry:
    """One row of the table; `conditions` is empty for a reason that only Events carry."""

    reason: Reason
    conditions: tuple[C, ...]
    meaning: str
    remedy: str = "Nothing."
