"""Brings up a Kubernetes cluster: a named one, kind, or a local node."""

from tenantry_cluster.cluster import Cluster, choose, ensure_cluster, take_down
from tenantry_cluster.controlplane import ControlPlane
from tenantry_cluster.errors import ClusterError
from tenantry_cluster.layout import Layout
from tenantry_cluster.record import Kind
from tenantry_cluster.steps import Step, Steps

__all__ = [
    "Cluster",
    "ClusterError",
    "ControlPlane",
    "Kind",
    "Layout",
    "Step",
    "Steps",
    "choose",
    "ensure_cluster",
    "take_down",
]
