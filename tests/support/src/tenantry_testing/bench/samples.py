"""Raw samples on disk, and the few numbers that are said about them."""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tenantry_cluster import Layout


def write_samples(layout: Layout, name: str, samples: Mapping[str, object]) -> Path:
    """Write `.tenantry/bench/<name>.json`, with when and on what it was measured."""
    path = layout.state / "bench" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    where = {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}
    record = {"measured_at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": where, **samples}
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path


def spread(samples: Sequence[float], *, digits: int = 3) -> str:
    """The median with the least and the greatest, as in `0.153 (0.129 to 0.281)`."""
    least, most = min(samples), max(samples)
    return f"{statistics.median(samples):.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"
