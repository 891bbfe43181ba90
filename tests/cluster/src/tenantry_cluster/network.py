"""The local node's network: a namespace and a pair of links to the machine, whose own rules stay untouched."""

import ipaddress
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tenantry_cluster import files
from tenantry_cluster.errors import ClusterError
from tenantry_cluster.layout import Layout
from tenantry_cluster.running import run, succeeds

NAMESPACES = Path("/run/netns")
# /24 networks of a part of 10/8 that neither Docker, kind, minikube nor the pods and Services of this node use.
CANDIDATES = ipaddress.IPv4Network("10.200.0.0/13")


@dataclass(frozen=True)
class Network:
    """The names and addresses of one node's network."""

    id: str
    subnet: ipaddress.IPv4Network

    @property
    def namespace(self) -> str:
        return f"tenantry-{self.id}"

    @property
    def machine_link(self) -> str:
        # A link's name has at most 15 characters.
        return f"tn{self.id}"

    @property
    def node_link(self) -> str:
        return f"tp{self.id}"

    @property
    def machine_address(self) -> str:
        return str(self.subnet[1])

    @property
    def node_address(self) -> str:
        """Where the machine's own shell reaches the node: its API server and its NodePorts."""
        return str(self.subnet[2])


def of_node(layout: Layout) -> Network:
    """This checkout's network. Its subnet is chosen once, as one that the machine does not use, and then stays."""
    file = layout.node / "network.json"
    if not file.exists():
        used = used_subnets(run(["ip", "-json", "-4", "route", "show", "table", "all"]))
        subnet = choose_subnet(int(layout.id, 16), used)
        files.write(file, json.dumps({"subnet": str(subnet)}))
    return Network(layout.id, ipaddress.IPv4Network(json.loads(file.read_text())["subnet"]))


def choose_subnet(start: int, used: Sequence[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
    """The first free /24 of the candidates, counted from `start`, which spreads checkouts that choose at one time."""
    subnets = list(CANDIDATES.subnets(new_prefix=24))
    for offset in range(len(subnets)):
        subnet = subnets[(start + offset) % len(subnets)]
        if not any(subnet.overlaps(other) for other in used):
            return subnet
    raise ClusterError(f"no /24 of {CANDIDATES} is free on this machine", cure="ip route")


def used_subnets(routes: str) -> list[ipaddress.IPv4Network]:
    """The networks that the machine has routes to, from the JSON of `ip route`."""
    found: Iterable[str] = (route["dst"] for route in json.loads(routes))
    subnets = [ipaddress.IPv4Network(each, strict=False) for each in found if each != "default"]
    # Whole-world and 10/8 routes, as of a VPN, leave nothing free, and a /24 takes precedence over them.
    return [subnet for subnet in subnets if subnet.prefixlen > 8]


def is_up(network: Network) -> bool:
    """Whether the namespace has its link up with its address, and the machine the other end."""
    return all(
        f"inet {address}/" in _shown(["ip", *where, "-4", "addr", "show", "dev", link, "up"])
        for where, link, address in (
            ([], network.machine_link, network.machine_address),
            (["-n", network.namespace], network.node_link, network.node_address),
        )
    ) and "default via" in _shown(["ip", "-n", network.namespace, "-4", "route"])


def bring_up(network: Network) -> None:
    """Make the namespace and the links, whatever is left of earlier ones."""
    inside = ["ip", "-n", network.namespace]
    width = network.subnet.prefixlen
    if _namespace(network).exists() and not succeeds([*inside, "link"]):
        run(["ip", "netns", "del", network.namespace])
    if not _namespace(network).exists():
        run(["ip", "netns", "add", network.namespace])
    succeeds(["ip", "link", "del", network.machine_link])
    pair = ["type", "veth", "peer", "name", network.node_link, "netns", network.namespace]
    run(["ip", "link", "add", network.machine_link, *pair])
    run(["ip", "addr", "add", f"{network.machine_address}/{width}", "dev", network.machine_link])
    run(["ip", "link", "set", network.machine_link, "up"])
    run([*inside, "addr", "add", f"{network.node_address}/{width}", "dev", network.node_link])
    run([*inside, "link", "set", "lo", "up"])
    run([*inside, "link", "set", network.node_link, "up"])
    run([*inside, "route", "replace", "default", "via", network.machine_address])
    settings = ["net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1"]
    run(["nsenter", f"--net={_namespace(network)}", "--", "sysctl", "-qw", *settings])


def take_down(id_: str) -> None:
    """Remove the links and the namespace of the checkout `id_`, as far as they are there."""
    network = Network(id_, CANDIDATES)
    if _shown(["ip", "link", "show", "dev", network.machine_link]):
        run(["ip", "link", "del", network.machine_link])
    if _namespace(network).exists():
        run(["ip", "netns", "del", network.namespace])


def holds(network: Network, pid: int) -> bool:
    """Whether the process lives in the node's namespace, and not in an earlier one of the same name."""
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino == _namespace(network).stat().st_ino
    except FileNotFoundError:
        return False


def _namespace(network: Network) -> Path:
    return NAMESPACES / network.namespace


def _shown(command: Sequence[str]) -> str:
    try:
        return run(command)
    except ClusterError:
        return ""
