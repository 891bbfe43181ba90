import io
import json
import tarfile
from pathlib import Path

import pytest

from tenantry_cluster import ClusterError
from tenantry_cluster.archives import archived, full_name


def archive(path: Path, *manifests: dict[str, object]) -> Path:
    content = json.dumps({"manifests": list(manifests)}).encode()
    entry = tarfile.TarInfo("index.json")
    entry.size = len(content)
    with tarfile.open(path, "w") as tar:
        tar.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    ("tag", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("tenantry/operator:dev", "docker.io/tenantry/operator:dev"),
        ("localhost/operator:dev", "localhost/operator:dev"),
        ("registry.example:5000/operator", "registry.example:5000/operator:latest"),
        ("tenantry.local/operator:1", "tenantry.local/operator:1"),
    ],
)
def test_a_runtime_writes_names_in_full(tag: str, full: str) -> None:
    assert full_name(tag) == full


def test_an_archive_names_its_image(tmp_path: Path) -> None:
    annotations = {"org.opencontainers.image.ref.name": "x/y:1"}
    file = archive(tmp_path / "a.tar", {"digest": "sha256:1", "annotations": annotations})
    assert archived(file) == ("x/y:1", "sha256:1")


def test_the_name_that_docker_writes_counts_first(tmp_path: Path) -> None:
    annotations = {"org.opencontainers.image.ref.name": "1", "io.containerd.image.name": "docker.io/x/y:1"}
    file = archive(tmp_path / "a.tar", {"digest": "sha256:1", "annotations": annotations})
    assert archived(file)[0] == "docker.io/x/y:1"


def test_more_than_one_image_is_refused(tmp_path: Path) -> None:
    file = archive(tmp_path / "a.tar", {"digest": "sha256:1"}, {"digest": "sha256:2"})
    with pytest.raises(ClusterError, match="holds 2 images"):
        archived(file)


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_text("no archive")
    with pytest.raises(ClusterError, match="no OCI archive"):
        archived(tmp_path / "a.tar")
