"""What the product finds in a cluster when it comes: a Gateway, and a Postgres server. For the demo and the tests."""

import base64
import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from tenantry_cluster.binaries import find_go, find_kubectl
from tenantry_cluster.certificates import Authority
from tenantry_cluster.cluster import Cluster, choose
from tenantry_cluster.errors import ClusterError
from tenantry_cluster.images import Images
from tenantry_cluster.layout import Layout
from tenantry_cluster.record import Kind
from tenantry_cluster.running import run
from tenantry_cluster.steps import Steps

GATEWAY_NAMESPACE = "tenantry-gateway"
GATEWAY_NAME = "tenantry"
POSTGRES_NAMESPACE = "tenantry-postgres"
POSTGRES_HOST = f"postgres.{POSTGRES_NAMESPACE}.svc.cluster.local"
POSTGRES_PORT = 5432
OPERATOR_USER = "tenantry_operator"
# Of the versions that the local node gets from packages.
PUBLIC_POSTGRES = "docker.io/library/postgres:15.14-bookworm"
PUBLIC_TRAEFIK = "docker.io/library/traefik:v3.7.15"
GATEWAY_API = "sigs.k8s.io/gateway-api"
READY = "--timeout=180s"
# The whole of Pod Security's strictest profile is enforced where the stack's pods run.
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@dataclass(frozen=True)
class StackImages:
    """The names under which the cluster finds the two images."""

    postgres: str
    traefik: str


@dataclass(frozen=True)
class Gateway:
    """The Gateway that routes attach to, and where the machine's own shell reaches it."""

    name: str
    namespace: str
    url: str


@dataclass(frozen=True)
class Postgres:
    """The server: for pods at `host` and `port`, for the machine's own shell by `admin_url`."""

    host: str
    port: int
    admin_url: str = field(repr=False)
    operator_user: str
    operator_password: str = field(repr=False)
    authority: str = field(repr=False)
    """The certificate of the CA that signed the server's, as PEM."""


def ensure_images(steps: Steps, layout: Layout, cluster: Cluster) -> StackImages:
    """Bring both images into the local node, built if need be; other clusters pull the public ones."""
    if cluster.kind is not Kind.LOCAL:
        return StackImages(PUBLIC_POSTGRES, PUBLIC_TRAEFIK)
    images = Images(steps, layout)
    postgres, traefik = images.postgres(), images.traefik()
    with steps.step("Bring Postgres and Traefik into the cluster") as step:
        fresh = [cluster.load_image(image.archive, image.tag) for image in (postgres, traefik)]
        step.result(f"{sum(fresh)} of {len(fresh)} were new")
    return StackImages(postgres.tag, traefik.tag)


def build_images(steps: Steps, layout: Layout, *, environment: Mapping[str, str] = os.environ) -> None:
    """Build what `ensure_images` will bring in, for a caller with time to fill before there is a cluster."""
    if choose(layout, environment) is Kind.LOCAL:
        images = Images(steps, layout)
        images.postgres()
        images.traefik()


def install_gateway(steps: Steps, layout: Layout, cluster: Cluster, *, image: str) -> Gateway:
    """Install the Gateway API, Traefik and the Gateway `tenantry`, and wait until it is Programmed."""
    kubectl = _Kubectl(layout)
    address = _address(cluster)
    with steps.step("Gateway API"):
        kubectl("apply", "--server-side", "--force-conflicts", "-f", _gateway_api(layout))
        crds = [f"crd/{kind}.gateway.networking.k8s.io" for kind in ("gatewayclasses", "gateways", "httproutes")]
        kubectl("wait", "--for=condition=Established", READY, *crds)
    with steps.step("Traefik") as step:
        kubectl.apply(_namespace(GATEWAY_NAMESPACE))
        kubectl.apply_file(_manifest(layout, "traefik"), IMAGE=image, NODE_ADDRESS=address)
        kubectl("rollout", "status", "deployment/traefik", "-n", GATEWAY_NAMESPACE, READY)
        kubectl("wait", "--for=condition=Programmed", READY, f"gateway/{GATEWAY_NAME}", "-n", GATEWAY_NAMESPACE)
        url = f"http://{address}:{kubectl.node_port('traefik', GATEWAY_NAMESPACE)}"
        step.result(f"the gateway is {url}")
    return Gateway(GATEWAY_NAME, GATEWAY_NAMESPACE, url)


def install_postgres(steps: Steps, layout: Layout, cluster: Cluster, *, image: str) -> Postgres:
    """Install Postgres with TLS, the operator's login, and its databases `app` and `tenantry`; wait until it is ready.

    Passwords and certificates are made once and kept in the cluster. The CA's certificate is also written to
    `.tenantry/postgres-ca.crt`, which the administrator's URL names.
    """
    kubectl = _Kubectl(layout)
    address = _address(cluster)
    with steps.step("Postgres") as step:
        kubectl.apply(_namespace(POSTGRES_NAMESPACE))
        passwords = _passwords(kubectl)
        authority = _certificates(kubectl, address)
        start = (_manifest(layout, "postgres").parent / "start.sh").read_text()
        kubectl.apply(_object("ConfigMap", "postgres-start", data={"start.sh": start}))
        kubectl.apply_file(_manifest(layout, "postgres"), IMAGE=image)
        kubectl("rollout", "status", "statefulset/postgres", "-n", POSTGRES_NAMESPACE, READY)
        port = kubectl.node_port("postgres", POSTGRES_NAMESPACE)
        step.result(f"at {address}:{port}")
    authority_file = layout.state / "postgres-ca.crt"
    authority_file.write_text(authority)
    tls = f"sslmode=verify-full&sslrootcert={quote(str(authority_file))}"
    return Postgres(
        host=POSTGRES_HOST,
        port=POSTGRES_PORT,
        admin_url=f"postgresql://postgres:{passwords['superuser']}@{address}:{port}/app?{tls}",
        operator_user=OPERATOR_USER,
        operator_password=passwords["operator"],
        authority=authority,
    )


def remove(steps: Steps, layout: Layout) -> None:
    """Take Postgres, with its data, and Traefik out of the cluster; nothing when they are gone."""
    kubectl = _Kubectl(layout)
    with steps.step("Remove Postgres and Traefik"):
        if _has_gateways(kubectl):
            kubectl("delete", "gatewayclass", "tenantry-traefik", "--ignore-not-found")
        kubectl("delete", "clusterrole,clusterrolebinding", "tenantry-traefik", "--ignore-not-found")
        kubectl("delete", "namespace", POSTGRES_NAMESPACE, GATEWAY_NAMESPACE, "--ignore-not-found", READY)


@dataclass(frozen=True)
class _Kubectl:
    """kubectl for the cluster that is up."""

    layout: Layout

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        return run([find_kubectl(self.layout), f"--kubeconfig={self.layout.kubeconfig}", *arguments], stdin)

    def apply(self, content: Mapping[str, Any]) -> None:
        self.apply_text(json.dumps(content))

    def apply_file(self, file: Path, **values: str) -> None:
        """Apply a manifest with its `${…}` put in."""
        self.apply_text(Template(file.read_text()).substitute(values))

    def apply_text(self, text: str) -> None:
        self("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    def secret(self, name: str, namespace: str) -> dict[str, str] | None:
        """The Secret's data in plain text; None when there is none."""
        found = self("get", "secret", name, "-n", namespace, "--ignore-not-found", "-o", "json")
        if not found.strip():
            return None
        return {key: base64.b64decode(value).decode() for key, value in json.loads(found)["data"].items()}

    def node_port(self, service: str, namespace: str) -> int:
        return int(self("get", "service", service, "-n", namespace, "-o", "jsonpath={.spec.ports[0].nodePort}"))


def _has_gateways(kubectl: _Kubectl) -> bool:
    return bool(kubectl("get", "crd", "gatewayclasses.gateway.networking.k8s.io", "--ignore-not-found").strip())


def _address(cluster: Cluster) -> str:
    if cluster.node_address is None:
        raise ClusterError(
            "this machine's shell cannot reach the cluster's nodes by address",
            cure="use Linux, or kubectl port-forward",
        )
    return cluster.node_address


def _manifest(layout: Layout, part: str) -> Path:
    return layout.root / "tests" / "cluster" / "stack" / part / f"{part}.yaml"


def _gateway_api(layout: Layout) -> str:
    """The folder of the Gateway API's standard CRDs, of the version that the Go module of our programs names."""
    where = ["-C", f"{layout.binaries_module}"]
    go = find_go()
    run([go, *where, "mod", "download", GATEWAY_API])
    folder = run([go, *where, "list", "-m", "-f", "{{.Dir}}", GATEWAY_API]).strip()
    return f"{folder}/config/crd/standard"


def _passwords(kubectl: _Kubectl) -> dict[str, str]:
    known = kubectl.secret("postgres-passwords", POSTGRES_NAMESPACE)
    if known is not None:
        return known
    made = {name: secrets.token_urlsafe(24) for name in ("superuser", "operator")}
    kubectl.apply(_object("Secret", "postgres-passwords", stringData=made))
    return made


def _certificates(kubectl: _Kubectl, address: str) -> str:
    """Make the server's certificate unless there is one for this address; return its CA's. The CA's key is not kept."""
    known = kubectl.secret("postgres-tls", POSTGRES_NAMESPACE)
    if known is not None and known.get("address") == address:
        return known["ca.crt"]
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority.in_folder(Path(folder))
        short = f"postgres.{POSTGRES_NAMESPACE}"
        hosts = ("postgres", short, f"{short}.svc", POSTGRES_HOST, "localhost", address)
        pair = authority.issue("server", "postgres", hosts=hosts)
        ca, certificate, key = (file.read_text() for file in (authority.pair.certificate, pair.certificate, pair.key))
    content = {"ca.crt": ca, "tls.crt": certificate, "tls.key": key, "address": address}
    kubectl.apply(_object("Secret", "postgres-tls", stringData=content))
    return ca


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}


def _object(kind: str, name: str, **content: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": POSTGRES_NAMESPACE}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **content}
