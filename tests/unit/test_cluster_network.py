import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry_cluster import ClusterError, Layout
from tenantry_cluster.network import CANDIDATES, Network, choose_subnet, used_subnets

SUBNETS = list(CANDIDATES.subnets(new_prefix=24))


@given(start=st.integers(0, 2**32 - 1), used=st.sets(st.sampled_from(SUBNETS), max_size=50))
def test_a_chosen_subnet_is_free(start: int, used: set[ipaddress.IPv4Network]) -> None:
    subnet = choose_subnet(start, list(used))
    assert subnet in SUBNETS
    assert subnet not in used


def test_two_checkouts_start_their_search_at_different_places() -> None:
    one, other = (choose_subnet(int(Layout(Path(f"/somewhere/{name}")).id, 16), []) for name in ("one", "other"))
    assert one != other


def test_no_free_subnet_is_an_error_and_no_guess() -> None:
    with pytest.raises(ClusterError, match="no /24"):
        choose_subnet(0, [CANDIDATES])


def test_routes_that_cover_the_world_use_up_nothing() -> None:
    routes = '[{"dst":"default"},{"dst":"0.0.0.0/1"},{"dst":"10.0.0.0/8"},{"dst":"10.200.1.0/24"},{"dst":"10.1.1.1"}]'
    assert used_subnets(routes) == [ipaddress.IPv4Network("10.200.1.0/24"), ipaddress.IPv4Network("10.1.1.1/32")]


def test_names_of_links_fit_the_kernel() -> None:
    network = Network(Layout(Path("/a/checkout")).id, SUBNETS[0])
    assert len(network.machine_link) <= 15
    assert len(network.node_link) <= 15
    assert network.machine_link != network.node_link


def test_the_machine_and_the_node_have_addresses_of_their_own() -> None:
    network = Network("0", ipaddress.IPv4Network("10.200.7.0/24"))
    assert (network.machine_address, network.node_address) == ("10.200.7.1", "10.200.7.2")
