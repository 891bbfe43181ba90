"""Which databases of trials nobody needs any more."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from tenantry_crds import names as api
from tenantry_operator.backup.scratch import scratch_name
from tenantry_operator.model.leftovers import Trial

Raw = Mapping[str, Any]


def abandoned(trials: Sequence[Trial], *, installation: str, at_work: Collection[str]) -> tuple[Trial, ...]:
    """Return those that are ours by name and mark, and of no Tenant whose Job is at work."""
    return tuple(
        one
        for one in trials
        if one.installation == installation and one.database == scratch_name(one.uid) and one.uid not in at_work
    )


def at_work(jobs: Sequence[Raw]) -> Iterator[str]:
    """Yield the UIDs of the Tenants whose Jobs have not ended."""
    for job in jobs:
        conditions = (job.get("status") or {}).get("conditions") or ()
        if not any(one["type"] in {"Complete", "Failed"} and one["status"] == "True" for one in conditions):
            yield (job["metadata"].get("annotations") or {}).get(api.ANNOTATION_OWNER_UID, "")
