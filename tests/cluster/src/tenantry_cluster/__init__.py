"""Brings up a Kubernetes cluster: a named one, kind, or a local node."""

from tenantry_cluster.controlplane import ControlPlane
from tenantry_cluster.errors import ClusterError
from tenantry_cluster.layout import Layout
from tenantry_cluster.steps import Step, Steps

__all__ = ["ClusterError", "ControlPlane", "Layout", "Step", "Steps"]
