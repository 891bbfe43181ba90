"""What is asked of docker and of buildah, with stand-ins that note what they are asked; neither engine is run here."""

import json
import os
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tenantry_cluster.archives import archived
from tenantry_cluster.builders import Buildah, Builder, Docker, choose_builder, pip_settings
from tenantry_cluster.debian import base_reference, write_archive
from tenantry_cluster.errors import ClusterError
from tenantry_cluster.images import KEPT, Images
from tenantry_cluster.layout import Layout
from tenantry_cluster.steps import Steps

STAND_IN = """\
#!{python}
import json, pathlib, sys
words = sys.argv[1:]
with open({calls!r}, "a") as calls:
    calls.write(json.dumps(["{name}", *words]) + "\\n")
if "refuse" in pathlib.Path({orders!r}).read_text().split():
    sys.exit("no space left on device")
if "save" in words:
    pathlib.Path(words[words.index("-o") + 1]).write_text("archive")
for word in words:
    if word.startswith("oci-archive:"):
        pathlib.Path(word.split(":")[1]).write_text("archive")
"""


class World:
    """A checkout with one Dockerfile, and programs on PATH that note what they are asked."""

    def __init__(self, folder: Path) -> None:
        self.layout = Layout(folder / "checkout")
        self.layout.state.mkdir(parents=True)
        self.context = folder / "context"
        self.context.mkdir()
        (self.context / "Dockerfile").write_text("FROM scratch\nCOPY program /\n")
        self.edit("one")
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.calls_file = folder / "calls"
        self.orders = folder / "orders"
        self.orders.write_text("")
        for name in ("docker", "unshare", "mmdebstrap"):
            program = self.bin / name
            names = {"python": sys.executable, "name": name, "calls": str(self.calls_file), "orders": str(self.orders)}
            program.write_text(STAND_IN.format(**names))
            program.chmod(0o755)

    def edit(self, content: str) -> None:
        (self.context / "program").write_text(content)

    def images(self, builder: Builder) -> Images:
        return Images(Steps(), self.layout, builder)

    def calls(self) -> list[list[str]]:
        return (
            [json.loads(line) for line in self.calls_file.read_text().splitlines()] if self.calls_file.exists() else []
        )


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setenv("PATH", f"{made.bin}{os.pathsep}{os.environ['PATH']}")
    return made


def test_docker_builds_upon_the_public_base_and_saves(world: World) -> None:
    image = world.images(Docker()).build(world.context / "Dockerfile", world.context, "thing", args={"A": "b"})
    build, save = world.calls()
    assert build[:2] == ["docker", "build"]
    assert build[-3:] == ["--build-arg", "A=b", f"{world.context}"]
    assert image.tag in build
    assert save[:2] == ["docker", "save"]
    assert image.archive.read_text() == "archive"


def test_buildah_builds_upon_our_base_where_asked(world: World) -> None:
    images = world.images(Buildah(world.layout))
    images.build(world.context / "Dockerfile", world.context, "thing")
    # The stand-in says that the base is there, so nothing makes it.
    inspect, bud, push = world.calls()
    assert inspect[-1] == base_reference()
    assert f"BASE={base_reference()}" in bud
    assert push[-1].startswith("oci-archive:")
    images.build(world.context / "Dockerfile", world.context, "bare", on_base=False)
    assert not any(word.startswith("BASE=") for word in world.calls()[3])


def test_what_is_built_is_not_built_again_until_it_changes(world: World) -> None:
    images = world.images(Docker())
    first = images.build(world.context / "Dockerfile", world.context, "thing")
    assert images.build(world.context / "Dockerfile", world.context, "thing") == first
    assert len(world.calls()) == 2
    world.edit("two")
    assert images.build(world.context / "Dockerfile", world.context, "thing").tag != first.tag
    assert len(world.calls()) == 4


def test_two_at_once_build_once(world: World) -> None:
    images = world.images(Docker())
    with ThreadPoolExecutor(4) as pool:
        built = [pool.submit(images.build, world.context / "Dockerfile", world.context, "thing") for _ in range(4)]
    assert len({each.result().tag for each in built}) == 1
    assert len(world.calls()) == 2


def test_a_build_that_fails_leaves_no_archive_and_says_why(world: World) -> None:
    images = world.images(Docker())
    world.orders.write_text("refuse")
    with pytest.raises(ClusterError, match="no space left on device"):
        images.build(world.context / "Dockerfile", world.context, "thing")
    world.orders.write_text("")
    assert images.build(world.context / "Dockerfile", world.context, "thing").archive.exists()


def test_old_archives_go_and_other_images_stay(world: World) -> None:
    images = world.images(Docker())
    other = images.build(world.context / "Dockerfile", world.context, "thing-two")
    for number in range(KEPT + 2):
        world.edit(f"edit {number}")
        images.build(world.context / "Dockerfile", world.context, "thing")
    assert other.archive.exists()
    assert len(list(world.layout.images.glob("thing-*.tar"))) == KEPT + 1


def test_an_engine_that_answers_is_taken(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenantry_cluster.builders.engine_is_reachable", lambda: True)
    assert choose_builder(Steps(), world.layout) == Docker()


def test_without_an_engine_it_is_buildah(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[str] = []
    monkeypatch.setattr("tenantry_cluster.builders.engine_is_reachable", lambda: False)
    monkeypatch.setattr("tenantry_cluster.packages.ensure", lambda names, _steps=None: wanted.extend(names))
    assert choose_builder(Steps(), world.layout).kind == "buildah"
    assert wanted == ["buildah", "mmdebstrap"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ""),
        ({"PIP_INDEX_URL": ""}, ""),
        ({"PIP_INDEX_URL": "https://a", "PIP_PROXY": "b"}, "[global]\nindex-url = https://a\nproxy = b\n"),
    ],
)
def test_a_build_gets_the_package_index_that_this_machine_uses(environment: dict[str, str], expected: str) -> None:
    assert pip_settings(environment) == expected


def test_a_base_archive_names_its_layer_truly(tmp_path: Path) -> None:
    layer = tmp_path / "layer.tar"
    layer.write_bytes(b"x" * 1000)
    write_archive(tmp_path / "image.tar", layer, reference="here/base:1")
    with tarfile.open(tmp_path / "image.tar") as tar:
        tar.extractall(tmp_path / "out", filter="data")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())[0]
    assert manifest["RepoTags"] == ["here/base:1"]
    assert (tmp_path / "out" / manifest["Layers"][0]).read_bytes() == layer.read_bytes()
    with pytest.raises(ClusterError):
        archived(tmp_path / "image.tar")
