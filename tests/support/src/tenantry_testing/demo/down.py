"""`make demo-down`: removes what the demo made, and nothing else."""

from tenantry_cluster import ClusterError, Layout, Steps, stack
from tenantry_testing.demo.charts import are_crds_installed, uninstall
from tenantry_testing.demo.facts import SYSTEM
from tenantry_testing.demo.programs import Programs
from tenantry_testing.demo.record import forget_record
from tenantry_testing.demo.sample import delete_samples, foreign_objects


class ObjectsLeft(ClusterError):
    """There are objects that the demo did not make; they would go with the CRDs, and their data with Postgres."""


def down(steps: Steps, layout: Layout) -> None:
    """Remove sample objects, charts, gateway and Postgres; the cluster stays. Raises ObjectsLeft before any change."""
    programs = Programs(layout.kubeconfig, layout.bin)
    if are_crds_installed(programs):
        others = foreign_objects(programs)
        if others:
            raise ObjectsLeft(
                f"there are objects that the demo did not make: {', '.join(others)}",
                cure="delete them first; for Tenants see docs/how-to/delete-a-tenant.md",
            )
        with steps.step("Delete the sample Tenant with its data, and the sample service"):
            delete_samples(programs)
    with steps.step("Uninstall the charts"):
        uninstall(programs)
        programs.kubectl("delete", "namespace", SYSTEM, "--ignore-not-found", "--timeout=120s")
    stack.remove(steps, layout)
    forget_record(layout)
