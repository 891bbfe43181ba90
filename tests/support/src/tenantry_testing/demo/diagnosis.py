"""What a person would look at first when the demo is not well."""

from tenantry_cluster.layout import Layout
from tenantry_testing.demo.programs import ProgramFailed, Programs

LOOKS = (
    ("get", "pods", "--all-namespaces", "-o", "wide"),
    ("get", "tenants,databaseservers,servicedeployments,httproutes", "--all-namespaces", "-o", "wide"),
    ("get", "events", "--all-namespaces", "--field-selector=type=Warning", "--sort-by=.lastTimestamp"),
    ("logs", "--namespace=tenantry-system", "deployment/tenantry-operator", "--tail=80"),
)
LINES = 80


def diagnose(layout: Layout) -> str:
    """The pods, our objects, the last warnings and the end of the operator's log; of what fails, why."""
    if not layout.kubeconfig.exists():
        return "There is no cluster to look at."
    programs = Programs(layout.kubeconfig, layout.bin)
    return "\n".join(_look(programs, arguments) for arguments in LOOKS)


def _look(programs: Programs, arguments: tuple[str, ...]) -> str:
    try:
        said = programs.kubectl(*arguments, timeout=20.0)
    except ProgramFailed as failure:
        said = failure.output
    lines = said.strip().splitlines()
    # The first line of a table is its head.
    kept = lines if len(lines) <= LINES else [lines[0], "…", *lines[-LINES:]]
    return "\n".join([f"$ kubectl {' '.join(arguments)}", *kept, ""])
