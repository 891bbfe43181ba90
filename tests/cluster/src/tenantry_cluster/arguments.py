"""Command lines of the programs of a control plane, for the node and for the tests' bare one alike."""

from dataclasses import dataclass
from pathlib import Path

from tenantry_cluster.certificates import Authority, Pair, signing_pair

SERVICE_CIDR = "10.96.0.0/16"
SERVICE_API = "10.96.0.1"
SERVICE_DNS = "10.96.0.10"


@dataclass(frozen=True)
class Trust:
    """The certificates that hold a control plane together."""

    authority: Authority
    server: Pair
    admin: Pair
    tokens: Pair
    front_proxy_authority: Pair
    front_proxy: Pair

    @classmethod
    def in_folder(cls, folder: Path, *, address: str) -> "Trust":
        """Make what is missing in `folder`, for an API server that is reached at `address`."""
        authority = Authority.in_folder(folder)
        # Not the clients' authority: the API server refuses to start when one signs for both.
        front = Authority.in_folder(folder, "front-proxy-ca")
        in_cluster = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        hosts = [*dict.fromkeys([address, "127.0.0.1", SERVICE_API]), "localhost", *in_cluster]
        return cls(
            authority=authority,
            server=authority.issue("apiserver", "kube-apiserver", hosts=hosts),
            admin=authority.issue("admin", "tenantry-admin", groups=["system:masters"]),
            tokens=signing_pair(folder, "service-accounts"),
            front_proxy_authority=front.pair,
            front_proxy=front.issue("front-proxy", "front-proxy"),
        )


def etcd(program: Path, data: Path, *, client_port: int, peer_port: int) -> list[str]:
    """A single etcd on loopback. It does not fsync: the data are worth less than the seconds."""
    client, peer = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
    return [
        str(program),
        "etcd",
        f"--data-dir={data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server(program: Path, trust: Trust, *, etcd_port: int, port: int, bind: str, advertise: str) -> list[str]:
    """An API server with RBAC on `bind:port`, which tells others to find it at `advertise`."""
    return [
        str(program),
        "kube-apiserver",
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        f"--secure-port={port}",
        f"--bind-address={bind}",
        f"--advertise-address={advertise}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        f"--tls-cert-file={trust.server.certificate}",
        f"--tls-private-key-file={trust.server.key}",
        f"--client-ca-file={trust.authority.pair.certificate}",
        f"--service-account-key-file={trust.tokens.certificate}",
        f"--service-account-signing-key-file={trust.tokens.key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--requestheader-client-ca-file={trust.front_proxy_authority.certificate}",
        "--requestheader-allowed-names=front-proxy",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={trust.front_proxy.certificate}",
        f"--proxy-client-key-file={trust.front_proxy.key}",
    ]
