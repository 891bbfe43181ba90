"""`make demo`: cluster, images, gateway, Postgres, charts, a Tenant, a service, a user; each step may be repeated."""

from dataclasses import dataclass
from typing import Any

from tenantry_cluster import Layout, Steps, ensure_cluster, stack
from tenantry_cluster.cluster import Cluster
from tenantry_testing.demo import charts, sample
from tenantry_testing.demo.callers import USER, AccountsCaller, create_key
from tenantry_testing.demo.charts import Image
from tenantry_testing.demo.closing import closing_lines
from tenantry_testing.demo.facts import GREETING, TENANT, registry_url
from tenantry_testing.demo.images import DemoImages, images_under_way, load_images
from tenantry_testing.demo.programs import Programs
from tenantry_testing.demo.record import DemoRecord, NoDemo, SampleTenant, read_record, write_record


@dataclass(frozen=True)
class Demo:
    """What the later steps share."""

    steps: Steps
    layout: Layout
    programs: Programs
    gateway: stack.Gateway
    postgres: stack.Postgres


def up(steps: Steps, layout: Layout) -> None:
    """Bring everything up, or make whole what is there; ends by saying what is where. Raises ClusterError."""
    with images_under_way(steps, layout) as building:
        cluster = ensure_cluster(steps, layout)
        images = building.result()
    load_images(steps, cluster, images)
    demo = _surroundings(steps, layout, cluster)
    _install(demo, images)
    _make_samples(demo)
    record, user = _call(demo)
    steps.say(closing_lines(layout, demo.programs, record, user=user))


def _surroundings(steps: Steps, layout: Layout, cluster: Cluster) -> Demo:
    """What the product finds when it comes."""
    images = stack.ensure_images(steps, layout, cluster)
    gateway = stack.install_gateway(steps, layout, cluster, image=images.traefik)
    postgres = stack.install_postgres(steps, layout, cluster, image=images.postgres)
    return Demo(steps, layout, Programs(layout.kubeconfig, layout.bin), gateway=gateway, postgres=postgres)


def _install(demo: Demo, images: DemoImages) -> None:
    operator, accounts = Image.parse(images.operator.tag), Image.parse(images.accounts.tag)
    with demo.steps.step("helm: the CRDs"):
        charts.install_crds(demo.programs, demo.layout.root)
    with demo.steps.step("helm: the operator and the services"):
        charts.install_tenantry(
            demo.programs, demo.layout.root, operator=operator, accounts=accounts, gateway=demo.gateway
        )


def _make_samples(demo: Demo) -> None:
    root = demo.layout.root
    with demo.steps.step("kubectl: a DatabaseServer, to Ready"):
        sample.apply_server(demo.programs, root, demo.postgres)
    with demo.steps.step(f"kubectl: the Tenant {TENANT}, to Ready"):
        sample.apply_tenant(demo.programs, root)
    with demo.steps.step("The account service, to Ready"):
        sample.wait_accounts(demo.programs)
    with demo.steps.step(f"kubectl: the ServiceDeployment {GREETING}, to Ready"):
        sample.apply_greeting(demo.programs, root)


def _call(demo: Demo) -> tuple[DemoRecord, dict[str, Any]]:
    """Make what a caller has: a key, unless the one of an earlier run still serves, and a user."""
    with demo.steps.step(f"tenantry: an API key for {TENANT}") as step:
        known = _known_key(demo)
        step.result("the one from before" if known else "new")
        key = known or create_key(demo.programs, TENANT, registry_url=registry_url(demo.postgres.admin_url))
        kubeconfig, tenants = str(demo.layout.kubeconfig), (SampleTenant(TENANT, key),)
        record = DemoRecord(kubeconfig, demo.gateway.url, demo.postgres.admin_url, tenants)
        write_record(demo.layout, record)
    with AccountsCaller(demo.gateway.url, key) as caller:
        with demo.steps.step("REST: a user, through the gateway"):
            user = caller.ensure_user(USER)
        with demo.steps.step("REST: the greeting, through the gateway"):
            caller.fetch(f"/{GREETING}")
    return record, user


def _known_key(demo: Demo) -> str | None:
    """The key that an earlier run noted, if it still serves."""
    try:
        key = read_record(demo.layout).key_of(TENANT)
    except NoDemo:
        return None
    return key if key and _is_accepted(demo, key) else None


def _is_accepted(demo: Demo, key: str) -> bool:
    with AccountsCaller(demo.gateway.url, key) as caller:
        return caller.accepts_key()
