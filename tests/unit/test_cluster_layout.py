from pathlib import Path

from tenantry_cluster import Layout


def test_the_checkout_is_the_one_that_holds_this_test() -> None:
    assert Layout.of_checkout().root == Path(__file__).resolve().parents[2]


def test_the_id_is_the_checkouts_and_stays(tmp_path: Path) -> None:
    assert Layout(tmp_path).id == Layout(tmp_path).id
    assert Layout(tmp_path).id != Layout(tmp_path / "other").id


def test_a_checkout_has_one_id_by_whatever_path_it_is_reached(tmp_path: Path) -> None:
    (tmp_path / "checkout").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "checkout")
    assert Layout(tmp_path / "link").id == Layout(tmp_path / "checkout").id


def test_a_socket_path_is_short_however_deep_the_checkout_lies() -> None:
    deep = Layout(Path("/" + "/".join(["folder"] * 40)))
    assert len(str(deep.runtime / "containerd.sock.ttrpc")) < 108
