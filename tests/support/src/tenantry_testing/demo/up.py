"""`make demo`: cluster, images, gateway, Postgres, charts, a Tenant, a service, a user; each step may be repeated."""

from typing import Any

from tenantry_cluster import Layout, Steps, ensure_cluster
from tenantry_testing.demo import charts, sample
from tenantry_testing.demo.callers import USER, AccountsCaller, create_key
from tenantry_testing.demo.charts import Image
from tenantry_testing.demo.closing import closing_lines
from tenantry_testing.demo.facts import GREETING, TENANT, registry_url
from tenantry_testing.demo.images import images_under_way, load_images
from tenantry_testing.demo.programs import Programs
from tenantry_testing.demo.record import DemoRecord, NoDemo, SampleTenant, read_record, write_record
from tenantry_testing.demo.surroundings import Surroundings, bring_up


def up(steps: Steps, layout: Layout) -> None:
    """Bring everything up, or make whole what is there; ends by saying what is where. Raises ClusterError."""
    with images_under_way(steps, layout) as building:
        cluster = ensure_cluster(steps, layout)
        images = building.result()
    load_images(steps, cluster, images)
    programs = Programs(layout.kubeconfig, layout.bin)
    surroundings = bring_up(steps, layout, cluster)
    _install(steps, layout, programs, operator=images.operator.tag, accounts=images.accounts.tag)
    _make_samples(steps, layout, programs, surroundings)
    record, user = _call(steps, layout, programs, surroundings)
    steps.say(closing_lines(layout, programs, record, user=user))


def _install(steps: Steps, layout: Layout, programs: Programs, *, operator: str, accounts: str) -> None:
    with steps.step("helm: the CRDs"):
        charts.install_crds(programs, layout.root)
    with steps.step("helm: the operator and the services"):
        charts.install_tenantry(programs, layout.root, operator=Image.parse(operator), accounts=Image.parse(accounts))


def _make_samples(steps: Steps, layout: Layout, programs: Programs, surroundings: Surroundings) -> None:
    with steps.step("kubectl: a DatabaseServer"):
        sample.apply_server(
            programs,
            layout.root,
            username=surroundings.operator_user,
            password=surroundings.operator_password,
            authority=surroundings.authority,
        )
    with steps.step(f"kubectl: the Tenant {TENANT}, to Ready"):
        sample.apply_tenant(programs, layout.root)
    with steps.step("The account service, to Ready"):
        sample.wait_accounts(programs)
    with steps.step(f"kubectl: the ServiceDeployment {GREETING}, to Ready"):
        sample.apply_greeting(programs, layout.root)


def _call(
    steps: Steps, layout: Layout, programs: Programs, surroundings: Surroundings
) -> tuple[DemoRecord, dict[str, Any]]:
    """Make what a caller has: a key, unless the one of an earlier run still serves, and a user."""
    with steps.step(f"tenantry: an API key for {TENANT}") as step:
        key = _known_key(layout, surroundings)
        step.result("the one from before" if key else "new")
        key = key or create_key(programs, TENANT, registry_url=registry_url(surroundings.postgres_url))
        record = DemoRecord(
            str(layout.kubeconfig), surroundings.gateway_url, surroundings.postgres_url, (SampleTenant(TENANT, key),)
        )
        write_record(layout, record)
    with steps.step("REST: a user, through the gateway"):
        user = AccountsCaller(record.gateway_url, key).ensure_user(USER)
    with steps.step("REST: the greeting, through the gateway"):
        AccountsCaller(record.gateway_url, key).fetch(f"/{GREETING}")
    return record, user


def _known_key(layout: Layout, surroundings: Surroundings) -> str | None:
    """The key that an earlier run noted, if it still serves."""
    try:
        key = read_record(layout).key_of(TENANT)
    except NoDemo:
        return None
    return key if key and AccountsCaller(surroundings.gateway_url, key).accepts_key() else None
