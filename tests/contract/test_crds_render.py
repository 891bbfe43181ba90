"""The committed files are those that the models give."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tenantry_crds import __main__ as command
from tenantry_crds import render
from tenantry_crds.base import Part
from tenantry_testing.crd_examples import RULE_EXAMPLES

KUBECTL_APPLY_LIMIT = 256 * 1024


def parts(root: type[Part] = Part) -> Iterator[type[Part]]:
    for child in root.__subclasses__():
        yield child
        yield from parts(child)


def test_no_generated_file_is_stale() -> None:
    assert list(render.stale(render.ROOT, render.generated())) == [], "run `make render`"


def test_a_file_that_is_changed_missing_or_too_many_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(render, "ROOT", tmp_path)
    assert command.main(["render"]) == 0
    assert command.main(["render", "--check"]) == 0
    manifest = tmp_path / "crds/manifests/tenants.yaml"
    for make_stale in (lambda: manifest.write_text("changed"), manifest.unlink):
        make_stale()
        assert command.main(["render", "--check"]) == 1
        assert "stale: crds/manifests/tenants.yaml\nrun `make render`" in capsys.readouterr().err
        assert command.main(["render"]) == 0
    (tmp_path / "crds/manifests/old.yaml").write_text("a kind that is gone")
    assert command.main(["render", "--check"]) == 1
    assert command.main(["render"]) == 0
    assert not (tmp_path / "crds/manifests/old.yaml").exists()


def test_the_chart_keeps_the_definitions_and_says_the_same_as_the_manifests() -> None:
    for path in sorted((render.ROOT / render.MANIFESTS).glob("*.yaml")):
        plain = yaml.safe_load(path.read_text())
        charted = yaml.safe_load((render.ROOT / render.CHART / path.name).read_text())
        assert charted["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert charted == plain


def test_a_definition_can_be_applied_by_plain_kubectl() -> None:
    for path in (render.ROOT / render.MANIFESTS).glob("*.yaml"):
        assert path.stat().st_size < KUBECTL_APPLY_LIMIT


def test_every_rule_has_one_example_that_runs_on_a_server() -> None:
    rules = [rule.name for part in parts() for rule in part.__dict__.get("rules", ())]
    assert sorted(rules) == sorted(each.rule for each in RULE_EXAMPLES)
