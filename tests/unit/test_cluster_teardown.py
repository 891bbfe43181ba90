from pathlib import Path

import pytest

from tenantry_cluster import ClusterError, Layout, teardown

MOUNTINFO = """\
22 1 254:0 / / rw - ext4 /dev/vda rw
30 22 0:40 / /checkout/.tenantry/node/kubelet/pods/1/token rw - tmpfs tmpfs rw
31 22 0:41 / /checkout/.tenantry/node/kubelet/pods/1/token/deeper rw - tmpfs tmpfs rw
32 22 0:42 / /checkout/.tenantry/node\\040two/x rw - tmpfs tmpfs rw
"""


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "mountinfo"
    file.write_text(MOUNTINFO)
    monkeypatch.setattr(teardown, "MOUNTS", file)
    return file


def test_the_innermost_mount_comes_first(mounts: Path) -> None:
    token = "/checkout/.tenantry/node/kubelet/pods/1/token"
    assert teardown.mounts_under(Path("/checkout/.tenantry/node")) == [f"{token}/deeper", token]


def test_spaces_are_read_as_the_kernel_writes_them(mounts: Path) -> None:
    assert teardown.mounts_under(Path("/checkout/.tenantry/node two")) == ["/checkout/.tenantry/node two/x"]


def test_nothing_is_removed_through_a_mount(mounts: Path, tmp_path: Path) -> None:
    data = tmp_path / "volume" / "data"
    data.mkdir(parents=True)
    mounts.write_text(f"30 22 0:40 / {data} rw - ext4 /dev/vdb rw\n")
    with pytest.raises(ClusterError, match="still mounted"):
        teardown.remove(tmp_path / "volume")
    assert data.exists()


def test_links_to_the_logs_of_other_nodes_stay(tmp_path: Path) -> None:
    links, ours = tmp_path / "links", tmp_path / "node"
    links.mkdir()
    (links / "ours.log").symlink_to(ours / "pod-logs" / "0.log")
    (links / "other.log").symlink_to(tmp_path / "other" / "0.log")
    (links / "file.log").touch()
    teardown.forget_log_links(links, ours)
    assert sorted(link.name for link in links.iterdir()) == ["file.log", "other.log"]


def test_notes_about_other_networks_stay(tmp_path: Path) -> None:
    ours, theirs = "tenantry-1-abc-eth0", "tenantry-2-def-eth0"
    for name in (ours, "cni-loopback-abc-lo", theirs, "cni-loopback-def-lo"):
        (tmp_path / name).write_text("")
    teardown.forget_pod_networks(tmp_path, "tenantry-1")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cni-loopback-def-lo", theirs]


def test_a_checkout_without_a_node_has_nothing_left(tmp_path: Path) -> None:
    assert not teardown.anything_is_left(Layout(tmp_path))


def test_a_state_folder_alone_is_something_left(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.node.mkdir(parents=True)
    assert teardown.anything_is_left(layout)
