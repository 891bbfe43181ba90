"""Every object of ours that the repository shows a reader is one that the API takes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tenantry_crds.kinds import KINDS
from tenantry_crds.names import API_VERSION, GROUP
from tenantry_crds.render import ROOT

MODELS = {kind.name: kind.model for kind in KINDS}
FENCED = re.compile(r"^( *)```yaml\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def documents(path: Path) -> Iterator[dict[str, object]]:
    text = path.read_text()
    for part in [text] if path.suffix == ".yaml" else [found[2] for found in FENCED.finditer(text)]:
        for document in yaml.safe_load_all(part):
            if isinstance(document, dict) and GROUP in str(document.get("apiVersion")):
                yield document


def shown() -> list[tuple[str, dict[str, object]]]:
    pages = [*(ROOT / "examples").rglob("*.yaml"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    return [(str(path.relative_to(ROOT)), document) for path in sorted(pages) for document in documents(path)]


@pytest.mark.parametrize(("page", "document"), [pytest.param(*each, id=each[0]) for each in shown()])
def test_a_shown_object_is_one_that_the_api_takes(page: str, document: dict[str, object]) -> None:
    assert document["apiVersion"] == API_VERSION
    MODELS[str(document["kind"])].model_validate(document)


def test_there_is_something_shown_of_each_kind() -> None:
    assert {str(document["kind"]) for _, document in shown()} >= {"Tenant", "ServiceDeployment"}
