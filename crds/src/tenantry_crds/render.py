"""Writes every file that is generated from the models, or says which one is stale."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from tenantry_crds import manifest, pages
from tenantry_crds.kinds import KINDS

ROOT = Path(__file__).resolve().parents[3]
MANIFESTS = Path("crds/manifests")
CHART = Path("charts/tenantry-crds/templates")
# Folders that hold generated YAML only: a file too many there is stale as well.
OWNED = (MANIFESTS, CHART)


def generated() -> dict[Path, str]:
    """Return each generated file, relative to the root, with its content."""
    files = {Path("docs/reference/api.md"): pages.api_page(), Path("docs/reference/reasons.md"): pages.reasons_page()}
    for kind in KINDS:
        files[MANIFESTS / f"{kind.plural}.yaml"] = manifest.text(kind)
        files[CHART / f"{kind.plural}.yaml"] = manifest.text(kind, keep=True)
    return files


def stale(root: Path, files: Mapping[Path, str]) -> Iterator[Path]:
    """Yield what differs from the models, is missing, or should not be there."""
    for path, content in files.items():
        if not (root / path).is_file() or (root / path).read_text() != content:
            yield path
    for folder in OWNED:
        for found in sorted((root / folder).glob("*.yaml")):
            if found.relative_to(root) not in files:
                yield found.relative_to(root)


def write(root: Path, files: Mapping[Path, str]) -> None:
    for path in tuple(stale(root, files)):
        if path in files:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(files[path])
        else:
            (root / path).unlink()
