"""The parts of the local node: their command lines, their configuration and the order in which they can start."""

import json
from dataclasses import dataclass
from pathlib import Path

from tenantry_cluster import arguments, files, kernel
from tenantry_cluster.containerd import POD_CIDR, Containerd
from tenantry_cluster.daemons import Daemon
from tenantry_cluster.kubeconfigs import write_kubeconfig
from tenantry_cluster.layout import Layout
from tenantry_cluster.network import Network

NAME = "tenantry"
PARTS = frozenset(
    {
        "containerd",
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-proxy",
        "kube-scheduler",
        "kubelet",
    }
)
API_PORT = 6443
ETCD_PORT = 2379
KUBELET_PORT = 10250
# All addresses of the node's own namespace, none of the machine's.
ANY = "0.0.0.0"  # noqa: S104


@dataclass(frozen=True)
class LocalNode:
    """One checkout's node, as it should be."""

    layout: Layout
    network: Network
    trust: arguments.Trust
    containerd: Containerd

    @classmethod
    def of_checkout(cls, layout: Layout, network: Network) -> "LocalNode":
        """The node of this checkout; makes the certificates that are missing or about to end."""
        trust = arguments.Trust.in_folder(layout.node / "pki", address=network.node_address)
        return cls(layout, network, trust=trust, containerd=Containerd(layout))

    @property
    def url(self) -> str:
        return f"https://{self.network.node_address}:{API_PORT}"

    @property
    def pod_logs(self) -> Path:
        return self.layout.node / "pod-logs"

    @property
    def kubelet_url(self) -> str:
        return f"https://{self.network.node_address}:{KUBELET_PORT}"

    def configure(self, pause: str) -> None:
        """Write all configuration; what is the same stays untouched, so that nothing is started anew for it."""
        self.containerd.configure(pause)
        users = {
            "kube-controller-manager": ("system:kube-controller-manager", []),
            "kube-scheduler": ("system:kube-scheduler", []),
            "kube-proxy": ("system:kube-proxy", []),
            "kubelet": (f"system:node:{NAME}", ["system:nodes"]),
        }
        for part, (user, groups) in users.items():
            self._write_kubeconfig(part, user, groups)
        self._kubelet_serving()
        self._link_kubelet_root()
        files.write(self._file("kubelet.json"), json.dumps(self._kubelet_config(), indent=1))
        files.write(self._file("kube-proxy.json"), json.dumps(self._proxy_config(), indent=1))

    def write_admin_kubeconfig(self) -> None:
        """Write the kubeconfig that people and tests use."""
        authority = self.trust.authority.pair.certificate
        write_kubeconfig(self.layout.kubeconfig, self.url, authority=authority, client=self.trust.admin)

    def base(self) -> list[Daemon]:
        """What everything else waits for."""
        etcd = arguments.etcd(self._program, self.layout.node / "etcd", client_port=ETCD_PORT, peer_port=ETCD_PORT + 1)
        containerd = Daemon("containerd", self.containerd.command, [self.containerd.config])
        return [Daemon("etcd", etcd), Daemon("kube-apiserver", self._api_server()), containerd]

    def rest(self) -> list[Daemon]:
        """What needs an API server that answers."""
        return [
            self._controller_manager(),
            self._daemon("kube-scheduler", "--leader-elect=false", "--bind-address=127.0.0.1"),
            self._kubelet(),
            Daemon("kube-proxy", self._command("kube-proxy", "--config", str(self._file("kube-proxy.json")))),
        ]

    @property
    def _program(self) -> Path:
        return self.layout.bin / "controlplane"

    def _file(self, name: str) -> Path:
        return self.layout.node / name

    def _command(self, part: str, *options: str) -> list[str]:
        return [str(self._program), part, *options]

    def _daemon(self, part: str, *options: str) -> Daemon:
        kubeconfig = self._file(f"{part}.kubeconfig")
        return Daemon(part, self._command(part, f"--kubeconfig={kubeconfig}", *options), [kubeconfig])

    def _api_server(self) -> list[str]:
        address = self.network.node_address
        command = arguments.api_server(
            self._program, self.trust, etcd_port=ETCD_PORT, port=API_PORT, bind=ANY, advertise=address
        )
        client = self.trust.authority.issue("apiserver-kubelet", "kube-apiserver-kubelet", groups=["system:masters"])
        return [
            *command,
            # By address: the node's name resolves nowhere.
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-certificate-authority={self.trust.authority.pair.certificate}",
            f"--kubelet-client-certificate={client.certificate}",
            f"--kubelet-client-key={client.key}",
        ]

    def _controller_manager(self) -> Daemon:
        authority = self.trust.authority.pair
        return self._daemon(
            "kube-controller-manager",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            # With the default of 20 a second, its own service accounts alone take it four seconds.
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={self.trust.tokens.key}",
            f"--root-ca-file={authority.certificate}",
            f"--cluster-signing-cert-file={authority.certificate}",
            f"--cluster-signing-key-file={authority.key}",
        )

    def _kubelet(self) -> Daemon:
        config = self._file("kubelet.json")
        kubelet = self._daemon(
            "kubelet",
            f"--config={config}",
            f"--hostname-override={NAME}",
            f"--node-ip={self.network.node_address}",
            f"--root-dir={self.layout.runtime / 'kubelet'}",
            f"--cert-dir={self._file('pki')}",
        )
        return Daemon(kubelet.part, kubelet.command, [*kubelet.files, config])

    def _write_kubeconfig(self, part: str, user: str, groups: list[str]) -> None:
        authority = self.trust.authority
        client = authority.issue(part, user, groups=groups)
        file = self._file(f"{part}.kubeconfig")
        write_kubeconfig(file, self.url, authority=authority.pair.certificate, client=client)

    def _link_kubelet_root(self) -> None:
        """Give kubelet a short path to its folder, as it puts sockets there, and keep pods' volumes beside the rest."""
        root, short = self._file("kubelet"), self.layout.runtime / "kubelet"
        root.mkdir(exist_ok=True)
        if not short.is_symlink():
            short.symlink_to(root)

    def _kubelet_serving(self) -> tuple[Path, Path]:
        hosts = [self.network.node_address, NAME]
        pair = self.trust.authority.issue(
            "kubelet-serving", f"system:node:{NAME}", groups=["system:nodes"], hosts=hosts
        )
        return pair.certificate, pair.key

    def _kubelet_config(self) -> dict[str, object]:
        certificate, key = self._kubelet_serving()
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "failCgroupV1": False,
            "failSwapOn": False,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": kernel.cgroup(self.layout),
            "containerRuntimeEndpoint": f"unix://{self.containerd.socket}",
            "authentication": {
                "anonymous": {"enabled": False},
                "x509": {"clientCAFile": str(self.trust.authority.pair.certificate)},
            },
            "tlsCertFile": str(certificate),
            "tlsPrivateKeyFile": str(key),
            "clusterDomain": "cluster.local",
            "clusterDNS": [arguments.SERVICE_DNS],
            # The machine's search domains would turn one look-up of a pod into many.
            "resolvConf": "",
            "podCIDR": POD_CIDR,
            # In the folder of the machine a second node's kubelet would take these pods' logs for left over.
            "podLogsDir": str(self.pod_logs),
            # A full disk is the machine's affair; an image that is thrown away cannot be pulled again.
            "evictionHard": {"memory.available": "100Mi"},
            "imageGCHighThresholdPercent": 100,
        }

    def _proxy_config(self) -> dict[str, object]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clientConnection": {"kubeconfig": str(self._file("kube-proxy.kubeconfig"))},
            "clusterCIDR": POD_CIDR,
            "hostnameOverride": NAME,
            "bindAddress": ANY,
            # The kernel's table of connections is the whole machine's.
            "conntrack": {"maxPerCore": 0},
        }
