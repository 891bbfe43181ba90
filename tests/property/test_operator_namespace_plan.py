"""A Tenant's namespace: a played plan leaves an empty one, from any state, through any crash; others' stay."""

from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tenantry_crds import Lifecycle
from tenantry_crds import names as api
from tenantry_crds.reasons import Reason
from tenantry_crds.tenantnamespace import QUANTITY
from tenantry_operator.model.adoption import Adoption
from tenantry_operator.model.credentials import RotationNotes, applied_mark
from tenantry_operator.model.namespace import Binding, DesiredNamespace, Subject
from tenantry_operator.model.tenant import Catalogue, Deletion, DesiredTenant, Grant, Leaving, ObservedSecret, RowState
from tenantry_operator.plan import actions as do
from tenantry_operator.plan import namespace_manifests as manifests
from tenantry_operator.plan.tenant import Plan, plan_tenant
from tenantry_operator.plan.tenant_deletion import deletion_actions
from tenantry_operator.plan.tenant_namespace import (
    namespace_actions,
    namespace_leaving,
    namespace_problem,
    namespace_waited_for,
)
from tenantry_operator.plan.tenant_secret_place import housed
from tenantry_testing.namespace_model import NamespaceModel, Refused, canonical
from tenantry_testing.tenant_damages import LOGIN, make_desired
from tenantry_testing.tenant_model import TenantModel

UID = "uid-1"
RESOURCES = ("cpu", "memory", "ephemeral-storage")
every_quantity = st.from_regex(QUANTITY, fullmatch=True)
quantities = st.sampled_from(["0", "2", "500m", "1000m", "0.5", "1024Mi", "1.5Gi", "1000k", "10P"])
amounts = st.dictionaries(st.sampled_from(RESOURCES), quantities, min_size=1)
subjects = st.builds(
    Subject, st.sampled_from(["User", "Group", "ServiceAccount"]), st.sampled_from("abc"), st.just("n")
)
wanted = st.builds(
    DesiredNamespace,
    name=st.just("acme"),
    pod_security=st.sampled_from(["privileged", "baseline", "restricted"]),
    default_deny=st.booleans(),
    quota=st.dictionaries(st.sampled_from(["pods", "requests.cpu", "limits.memory"]), quantities),
    limits=st.dictionaries(st.sampled_from(["default", "defaultRequest", "min", "max"]), amounts),
    bindings=st.lists(
        st.builds(Binding, st.sampled_from(manifests.ROLES), st.lists(subjects, min_size=1, max_size=3).map(tuple)),
        unique_by=lambda one: one.role,
    ).map(tuple),
    keeper=st.just(Subject("ServiceAccount", "tenantry-operator", "tenantry-system")),
)


def tenant(namespace: DesiredNamespace, *, uid: str = UID, leaving: Leaving | None = None) -> DesiredTenant:
    deletion = Deletion(leaving, protected=False) if leaving else None
    return make_desired(namespace=namespace, uid=uid, deletion=deletion)


def settle(model: NamespaceModel, desired: DesiredTenant) -> None:
    for action in namespace_actions(desired, model.observe()):
        model.play(action)


Hand = Callable[[NamespaceModel], None]


def edit(kind: str, change: Callable[[dict[str, Any]], object]) -> Hand:
    def do(model: NamespaceModel) -> None:
        for key, body in model.children.items():
            if key[0] == kind:
                change(body)

    return do


def unlabel(model: NamespaceModel) -> None:
    for body in [model.body or {"metadata": {}}, *model.children.values()]:
        body["metadata"]["labels"] = {}


def bind_admin(body: dict[str, Any]) -> None:
    body["roleRef"] = {**body["roleRef"], "name": "cluster-admin"}


HANDS: dict[str, Hand] = {
    "all labels removed": unlabel,
    "pod security weakened": lambda m: (m.body or {})["metadata"]["labels"].update(
        {"pod-security.kubernetes.io/enforce": "privileged"}
    ),
    "quota raised": edit("ResourceQuota", lambda body: body["spec"]["hard"].update(pods="999")),
    "quota narrowed to some pods": edit("ResourceQuota", lambda body: body["spec"].update(scopes=["BestEffort"])),
    "limits emptied": edit("LimitRange", lambda body: body["spec"].update(limits=[])),
    "policy for some pods only": edit(
        "NetworkPolicy", lambda body: body["spec"].update(podSelector={"matchLabels": {"a": "b"}})
    ),
    "policy opened": edit("NetworkPolicy", lambda body: body["spec"]["egress"].append({})),
    "subject added": edit("RoleBinding", lambda body: body["subjects"].append({"kind": "User", "name": "eve"})),
    "role exchanged": edit("RoleBinding", bind_admin),
    "children gone": lambda m: m.children.clear(),
    "marked as released": lambda m: (m.body or {})["metadata"]["annotations"].update(
        {api.ANNOTATION_STATE: "released"}
    ),
}


@given(wanted)
def test_a_new_namespace_needs_one_plan_with_one_write_each(namespace: DesiredNamespace) -> None:
    model, desired = NamespaceModel(), tenant(namespace)
    actions = namespace_actions(desired, model.observe())
    settle(model, desired)
    assert namespace_actions(desired, model.observe()) == ()
    assert len(actions) == 1 + len(model.children)
    assert model.body is not None
    assert model.body["metadata"]["annotations"][api.ANNOTATION_OWNER_UID] == UID
    assert not [body for body in (model.body, *model.children.values()) if "ownerReferences" in body["metadata"]]


@given(wanted, wanted, st.lists(st.sampled_from(sorted(HANDS))), st.integers(0, 6))
def test_any_change_and_any_hand_is_put_right_also_after_a_crash(
    before: DesiredNamespace, after: DesiredNamespace, hands: list[str], crash: int
) -> None:
    model, desired = NamespaceModel(), tenant(after)
    settle(model, tenant(before))
    for hand in hands:
        HANDS[hand](model)
    for action in namespace_actions(desired, model.observe())[:crash]:
        model.play(action)
    settle(model, desired)
    assert namespace_actions(desired, model.observe()) == ()
    fresh = NamespaceModel()
    settle(fresh, desired)
    assert content(model) == content(fresh)


def content(model: NamespaceModel) -> dict[tuple[str, str], Any]:
    """All that is ours and could weaken a bound, without the versions."""
    bodies = {("Namespace", "acme"): model.body or {}, **model.children}
    shown = {}
    for key, body in bodies.items():
        labels = {name: text for name, text in body["metadata"]["labels"].items() if text}
        shown[key] = {**{part: body.get(part) for part in ("spec", "subjects", "roleRef")}, "labels": labels}
    return shown


@given(wanted)
def test_objects_of_others_are_left_alone(namespace: DesiredNamespace) -> None:
    model, desired = NamespaceModel(), tenant(namespace)
    settle(model, desired)
    foreign = {"kind": "RoleBinding", "metadata": {"name": "theirs", "labels": {api.LABEL_TENANT: "acme"}, "uid": "u"}}
    model.children["RoleBinding", "theirs"] = deepcopy(foreign)
    assert model.body is not None
    model.body["metadata"]["labels"]["team"] = "blue"
    settle(model, tenant(replace(namespace, bindings=(), default_deny=False, quota={}, limits={}, pod_security="x")))
    assert model.children.pop(("RoleBinding", manifests.SECRETS_BINDING))
    assert model.children == {("RoleBinding", "theirs"): foreign}
    assert model.body["metadata"]["labels"]["team"] == "blue"


@given(wanted, st.sampled_from(Leaving))
def test_a_namespace_that_is_not_ours_is_never_touched(namespace: DesiredNamespace, leaving: Leaving) -> None:
    foreign = NamespaceModel()
    foreign.make_foreign("acme")
    labelled = NamespaceModel()
    labelled.make_foreign("acme")
    assert labelled.body is not None
    labelled.body["metadata"] |= {
        "labels": {api.LABEL_TENANT: "acme"},
        "annotations": {api.ANNOTATION_STATE: "released"},
    }
    others = NamespaceModel()
    settle(others, tenant(namespace, uid="uid-of-another"))
    for model in (foreign, labelled, others):
        problem = namespace_problem(tenant(namespace), model.observe())
        assert problem is not None
        assert (problem.reason, problem.lasting) == (Reason.NOT_OURS, True)
        assert namespace_actions(tenant(namespace), model.observe()) == ()
        assert namespace_leaving(tenant(namespace), model.observe(), leaving=leaving) == ()
        assert namespace_waited_for(tenant(namespace), model.observe(), leaving=leaving) is None


@given(wanted)
def test_a_retained_namespace_is_adopted_by_the_next_of_the_name_alone(namespace: DesiredNamespace) -> None:
    model, desired = NamespaceModel(), tenant(namespace)
    settle(model, desired)
    children = deepcopy(model.children)
    for action in namespace_leaving(desired, model.observe(), leaving=Leaving.RETAIN):
        model.play(action)
    assert namespace_leaving(desired, model.observe(), leaving=Leaving.RETAIN) == ()
    assert model.children == children
    other = replace(tenant(namespace, uid="uid-2"), names=type(desired.names)("globex"))
    refused = namespace_problem(other, model.observe())
    assert refused is not None
    assert refused.reason is Reason.NOT_OURS
    never = namespace_problem(replace(tenant(namespace, uid="uid-2"), adoption=Adoption.NEVER), model.observe())
    assert never is not None
    assert never.reason is Reason.NOT_OURS
    settle(model, tenant(namespace, uid="uid-2"))
    assert namespace_actions(tenant(namespace, uid="uid-2"), model.observe()) == ()
    lost = namespace_problem(desired, model.observe())
    assert lost is not None
    assert lost.reason is Reason.NOT_OURS


@given(wanted)
def test_a_deleted_namespace_is_waited_for(namespace: DesiredNamespace) -> None:
    model, desired = NamespaceModel(), tenant(namespace)
    settle(model, desired)
    for _ in range(2):
        for action in namespace_leaving(desired, model.observe(), leaving=Leaving.DELETE):
            model.play(action)
    waits = namespace_waited_for(desired, model.observe(), leaving=Leaving.DELETE)
    assert waits is not None
    assert (waits.reason, waits.lasting) == (Reason.NAMESPACE_TERMINATING, False)
    alive = namespace_problem(desired, model.observe())
    assert alive == waits, "a Tenant that stays waits too, and makes it anew"
    model.finish()
    assert namespace_waited_for(desired, model.observe(), leaving=Leaving.DELETE) is None


@given(wanted, st.sampled_from(Leaving))
def test_the_registry_is_told_before_a_namespace_goes(namespace: DesiredNamespace, leaving: Leaving) -> None:
    model = TenantModel(tenant(namespace))
    model.play_all(plan_tenant(model.desired, model.observe()).actions)
    kinds = [type(one).__name__ for one in deletion_actions(model.desired, model.observe(), leaving=leaving)]
    assert kinds[:2] == ["RecordTenant", "DeleteObject" if leaving is Leaving.DELETE else "ReplaceObject"]


def at_home(namespace: DesiredNamespace, **changes: Any) -> DesiredTenant:
    return replace(tenant(namespace), secret_namespace=namespace.name, **changes)


def placed(model: TenantModel) -> DesiredTenant:
    """What is wanted, now that it is known whose the namespace is."""
    return housed(model.desired, model.namespace.observe())


def run(model: TenantModel, steps: int | None = None) -> tuple[do.TenantAction, ...]:
    """Play a plan, or the beginning of it; return all of it."""
    actions = plan_tenant(placed(model), model.observe()).actions
    model.play_all(actions[:steps])
    return actions


FEW = settings(max_examples=25)
"""A plan of a whole tenant takes longer than one of its namespace, and asks little of what the namespace is like."""

SECRET_HANDS: dict[str, Callable[[TenantModel], object]] = {
    "nothing": lambda _: None,
    "way in removed": lambda model: model.namespace.children.pop(("RoleBinding", "tenantry-credentials"), None),
    "way in emptied": lambda model: model.namespace.children[("RoleBinding", "tenantry-credentials")].update(
        subjects=[]
    ),
    "everything in it but the Secret removed": lambda model: model.namespace.children.clear(),
    "mark removed": lambda model: (model.namespace.body or {})["metadata"].update(annotations={}),
    "being deleted": lambda model: (model.namespace.body or {})["metadata"].update(deletionTimestamp="now"),
}


@given(wanted)
@FEW
def test_a_new_tenants_secret_is_made_in_its_namespace_by_the_first_plan(namespace: DesiredNamespace) -> None:
    model = TenantModel(at_home(namespace))
    kinds = [type(one).__name__ for one in run(model)]
    assert [(one.name, one.namespace) for one in model.secrets.values()] == [("acme-database", "acme")]
    assert model.lets_in()
    assert run(model) == ()
    assert kinds.index("CreateObject") < kinds.index("WriteSecret")


@given(wanted, st.lists(st.integers(0, 14), max_size=4))
@FEW
def test_a_secret_moves_as_it_is_and_there_is_one_at_any_time(namespace: DesiredNamespace, crashes: list[int]) -> None:
    model = TenantModel(make_desired())
    run(model)
    before = model.secret
    assert before is not None
    model.desired = at_home(namespace)
    # A plan that finds the namespace without our way in does no more than make it.
    for steps in [*crashes, None, None]:
        actions = run(model, steps)
        assert not [one for one in actions if isinstance(one, do.SetPassword | do.CloseLogin | do.RetireLogin)]
        held = list(model.secrets.values())
        assert held
        assert {(one.data["username"], one.data["password"]) for one in held} == {(LOGIN, before.data["password"])}
    assert run(model) == ()
    [after] = model.secrets.values()
    assert after.namespace == "acme"
    assert (after.data, after.applied, after.rotation) == (before.data, before.applied, before.rotation)


@given(wanted, st.lists(st.integers(0, 20), max_size=4))
@FEW
def test_one_that_was_planted_in_the_namespace_is_overwritten(namespace: DesiredNamespace, crashes: list[int]) -> None:
    """Whoever could write there, before an operator that keeps the Secret there came, chooses nothing."""
    model = TenantModel(at_home(namespace))
    run(model)
    assert model.secret is not None
    before = replace(model.secret, namespace="tenantry-system")
    known = {**before.data, "password": "p" * 43}
    forged = [
        replace(before, data=known, applied=applied_mark(model.catalogue.roles[LOGIN].oid, "p" * 43)),
        replace(before, rotation=RotationNotes(before.rotation.rotated_at, rotated_for="now")),
    ]
    for planted in forged:
        model.secrets = {
            "acme-database": before,
            "acme/acme-database": replace(planted, namespace="acme", uid="planted", resource_version="0"),
        }
        for steps in [*crashes, None, None]:
            run(model, steps)
            assert model.passwords[LOGIN] == before.data["password"]
        assert run(model) == ()
        [after] = model.secrets.values()
        assert (after.namespace, after.data, after.rotation) == ("acme", before.data, before.rotation)


@given(wanted, st.lists(st.integers(0, 20), max_size=4))
@FEW
def test_a_rotation_that_is_due_waits_until_it_has_moved(namespace: DesiredNamespace, crashes: list[int]) -> None:
    model = TenantModel(make_desired())
    run(model)
    rotate = replace(model.desired.credentials, rotate="now")
    model.desired = at_home(namespace, credentials=rotate)
    for steps in [*crashes, None, None, None]:
        for action in plan_tenant(placed(model), model.observe()).actions[:steps]:
            model.play(action)
            assert model.secret is None or model.lets_in(), action
    assert run(model) == ()
    [after] = model.secrets.values()
    assert (after.namespace, after.rotation.rotated_for) == ("acme", "now")
    assert after.data["username"] != LOGIN
    assert model.lets_in()


@given(wanted, st.sampled_from(sorted(SECRET_HANDS)), st.booleans())
@FEW
def test_a_secret_that_cannot_be_looked_at_is_never_taken_for_lost(
    namespace: DesiredNamespace, hand: str, rotate: bool
) -> None:
    model = TenantModel(at_home(namespace))
    run(model)
    before, roles = dict(model.secrets), set(model.catalogue.roles)
    SECRET_HANDS[hand](model)
    if rotate and hand != "nothing":
        credentials = replace(model.desired.credentials, rotate="now")
        model.desired = replace(model.desired, credentials=credentials)
    plan = plan_tenant(placed(model), model.observe())
    touched = [one for one in plan.actions if isinstance(one, do.WriteSecret | do.DeleteSecret | do.SetPassword)]
    assert touched == []
    assert (plan.credentials_problem is None) == (hand == "nothing")
    model.play_all(plan.actions)
    assert (model.secrets, set(model.catalogue.roles)) == (before, roles)


@given(wanted, st.booleans())
@FEW
def test_access_is_taken_also_when_the_secret_cannot_be_read(namespace: DesiredNamespace, leaves: bool) -> None:
    model = TenantModel(at_home(namespace))
    run(model)
    model.desired = replace(model.desired, lifecycle=Lifecycle.SUSPENDED)
    if leaves:
        model.desired = replace(model.desired, deletion=Deletion(Leaving.RETAIN, protected=False))
    before = dict(model.secrets)
    unread = replace(model.observe(), secret=None, secret_unread="403")
    plan = plan_tenant(placed(model), unread)
    model.play_all(plan.actions)
    assert model.live_logins() == set()
    assert model.secrets == before
    problem = plan.namespace_problem if leaves else plan.credentials_problem
    assert problem is not None, "a Tenant that leaves waits for it"
    assert problem.reason is Reason.KUBERNETES_ERROR


@given(wanted)
@FEW
def test_nothing_is_made_in_a_namespace_of_somebody_else_nor_beside_us(namespace: DesiredNamespace) -> None:
    model = TenantModel(at_home(namespace))
    model.namespace.make_foreign("acme")
    plan = plan_tenant(placed(model), model.observe())
    model.play_all(plan.actions)
    assert (model.secrets, model.live_logins()) == ({}, set())
    assert plan.credentials_problem is not None
    assert plan.credentials_problem.reason is Reason.NOT_OURS
    assert run(model) == ()
    model.namespace.body = None
    lost = [one.lost for one in run(model) if isinstance(one, do.WriteSecret)]
    assert lost == [False]
    assert model.lets_in()


@given(wanted, st.booleans())
@FEW
def test_a_secret_beside_us_is_kept_there_while_the_namespace_is_somebody_elses(
    namespace: DesiredNamespace, gone: bool
) -> None:
    model = TenantModel(make_desired())
    run(model)
    model.namespace.make_foreign("acme")
    model.desired = at_home(namespace, credentials=replace(model.desired.credentials, rotate="now"))
    run(model)
    [kept] = model.secrets.values()
    assert kept.namespace == "tenantry-system"
    assert model.lets_in()
    if gone:
        model.namespace.body = None
        run(model)
        [moved] = model.secrets.values()
        assert (moved.namespace, moved.data) == ("acme", kept.data)


@given(wanted)
@FEW
def test_delete_takes_the_secret_before_the_way_to_it(namespace: DesiredNamespace) -> None:
    model = TenantModel(at_home(namespace))
    run(model)
    model.desired = replace(model.desired, deletion=Deletion(Leaving.DELETE, protected=False))
    kinds = [type(one).__name__ for one in run(model)]
    assert kinds[:3] == ["RecordTenant", "DeleteSecret", "DeleteObject"]
    assert kinds.count("DeleteSecret") == 1


@given(wanted, st.sampled_from(["nothing", "way in removed", "way in emptied"]))
@FEW
def test_retain_leaves_no_secret_in_the_namespace(namespace: DesiredNamespace, hand: str) -> None:
    model = TenantModel(at_home(namespace))
    run(model)
    SECRET_HANDS[hand](model)
    model.desired = replace(model.desired, deletion=Deletion(Leaving.RETAIN, protected=False))
    run(model)
    run(model)
    assert model.secrets == {}
    assert model.namespace.body is not None


WAY_IN = ("RoleBinding", manifests.SECRETS_BINDING)
ONCE_OR_TWICE = settings(max_examples=4)
"""What the namespace holds besides makes no difference."""

HELD = "example.com/held"
"""A finalizer that nobody removes."""


def hold_way_in(model: TenantModel, *, role: str | None = None, leaves: bool = True) -> None:
    """Do what an admin of the namespace can: keep the binding from going, maybe with a role that lets nobody in."""
    binding = model.namespace.children[WAY_IN]
    binding["metadata"] |= {"finalizers": [HELD]} | ({"deletionTimestamp": "now"} if leaves else {})
    if role is not None:
        binding["roleRef"] = {**binding["roleRef"], "name": role}


def run_past_refusals(model: TenantModel) -> Plan:
    """Play a plan as a pass does: what is refused in the namespace keeps nothing else from being done."""
    plan = plan_tenant(placed(model), model.observe())
    for action in plan.actions:
        with suppress(Refused):
            model.play(action)
    return plan


def rotated(model: TenantModel, note: str = "now") -> DesiredTenant:
    return replace(model.desired, credentials=replace(model.desired.credentials, rotate=note))


def theirs_in_place(model: TenantModel) -> ObservedSecret:
    """Put somebody else's Secret in the place of the tenant's, as whoever may write in the namespace can."""
    [(key, secret)] = model.secrets.items()
    model.secrets[key] = replace(secret, ours=False, uid="theirs", data={"password": "theirs"}, applied=None)
    return model.secrets[key]


@given(wanted)
@ONCE_OR_TWICE
def test_a_foreign_secret_in_the_namespace_keeps_nothing_else_from_repair(namespace: DesiredNamespace) -> None:
    model = TenantModel(at_home(namespace))
    run(model)
    logins, theirs = model.live_logins(), theirs_in_place(model)
    model.desired = rotated(model)
    model.namespace.children = {WAY_IN: model.namespace.children[WAY_IN]}
    opened = Grant(model.names.service_schema, "PUBLIC", "USAGE")
    model.catalogue = replace(model.catalogue, schema_grants=model.catalogue.schema_grants | {opened})
    plan = plan_tenant(placed(model), model.observe())
    model.play_all(plan.actions)
    assert plan.refusal is None
    assert plan.credentials_problem is not None
    assert (plan.credentials_problem.reason, plan.credentials_problem.lasting) == (Reason.NOT_OURS, True)
    assert opened not in model.catalogue.schema_grants
    assert namespace_actions(model.desired, model.namespace.observe()) == ()
    assert (list(model.secrets.values()), model.live_logins()) == ([theirs], logins)
    assert run(model) == ()


@given(wanted, st.sampled_from([Lifecycle.SUSPENDED, Lifecycle.ARCHIVED, *Leaving]))
@ONCE_OR_TWICE
def test_access_is_taken_beside_a_foreign_secret_that_is_left_alone(
    namespace: DesiredNamespace, way: Lifecycle | Leaving
) -> None:
    model = TenantModel(at_home(namespace))
    run(model)
    theirs = theirs_in_place(model)
    if isinstance(way, Leaving):
        model.desired = replace(model.desired, deletion=Deletion(way, protected=False))
    else:
        model.desired = replace(model.desired, lifecycle=way)
    plan = plan_tenant(placed(model), model.observe())
    model.play_all(plan.actions)
    assert plan.refusal is None
    assert model.live_logins() == set()
    assert list(model.secrets.values()) == [theirs]
    assert (plan.credentials_problem is not None) == (way is Lifecycle.SUSPENDED)
    assert plan.unfinished is None


@given(wanted, st.booleans())
@ONCE_OR_TWICE
def test_retain_takes_access_and_waits_while_it_cannot_see_the_secret(
    namespace: DesiredNamespace, leaves: bool
) -> None:
    model = TenantModel(at_home(namespace))
    run(model)
    hold_way_in(model, role="view", leaves=leaves)
    model.desired = replace(model.desired, deletion=Deletion(Leaving.RETAIN, protected=False))
    assert run_past_refusals(model).namespace_problem is not None
    assert model.live_logins() == set()
    problem = run_past_refusals(model).namespace_problem
    assert problem is not None
    assert HELD in problem.message
    assert len(model.secrets) == 1
    del model.namespace.children[WAY_IN]
    assert run_past_refusals(model).namespace_problem is not None, "it is seen by the next pass"
    assert run_past_refusals(model).namespace_problem is None
    assert model.secrets == {}
    assert plan_tenant(placed(model), model.observe()).is_empty


@given(wanted, st.booleans())
@ONCE_OR_TWICE
def test_a_way_in_that_does_not_go_is_used_for_as_long_as_it_is_there(
    namespace: DesiredNamespace, retained: bool
) -> None:
    model = TenantModel(at_home(namespace))
    run(model)
    hold_way_in(model)
    if retained:
        model.desired = replace(model.desired, deletion=Deletion(Leaving.RETAIN, protected=False))
        run(model)
        assert model.secrets == {}
        return
    model.desired = rotated(model)
    run(model)
    assert len(model.live_logins()) == 2
    later = replace(model.desired.credentials, now=model.desired.credentials.now + timedelta(hours=2))
    model.desired = replace(model.desired, credentials=later)
    run(model)
    assert len(model.live_logins()) == 1
    assert model.lets_in()


@given(wanted, st.booleans())
@ONCE_OR_TWICE
def test_an_overlap_ends_also_while_the_secret_waits_for_its_place(namespace: DesiredNamespace, over: bool) -> None:
    model = TenantModel(make_desired())
    run(model)
    model.desired = rotated(model)
    run(model)
    [kept] = model.secrets.values()
    now = model.desired.credentials.now + timedelta(hours=2 if over else 0)
    model.sessions = frozenset(model.live_logins())
    model.desired = at_home(namespace, credentials=replace(model.desired.credentials, now=now))
    model.secrets["acme/acme-database"] = replace(kept, namespace="acme", ours=False, uid="theirs", data={})
    settle(model.namespace, model.desired)
    plan = plan_tenant(placed(model), model.observe())
    model.play_all(plan.actions)
    assert plan.credentials_problem is not None
    assert model.live_logins() == ({kept.data["username"]} if over else set(model.names.logins))
    assert model.secrets[kept.name] == kept


@given(wanted, st.booleans())
@ONCE_OR_TWICE
def test_a_secret_that_anybody_in_the_namespace_can_make_is_no_proof_of_data(
    namespace: DesiredNamespace, marked: bool
) -> None:
    model = TenantModel(at_home(namespace))
    actions = plan_tenant(placed(model), model.observe()).actions
    model.play_all(one for one in actions if isinstance(one, do.RecordTenant | do.NamespaceAction))
    model.row = replace(model.row, version=None, state=RowState.PROVISIONING) if model.row else None
    applied = "16385:0" if marked else None
    forged = ObservedSecret("acme-database", "acme", "e", "1", ours=True, data={}, applied=applied)
    model.secrets["acme/acme-database"] = forged
    assert plan_tenant(placed(model), model.observe()).refusal is None
    run(model)
    assert model.lets_in()


@given(wanted)
@ONCE_OR_TWICE
def test_a_secret_in_the_namespace_tells_of_data_when_registry_and_server_are_lost(namespace: DesiredNamespace) -> None:
    model = TenantModel(at_home(namespace))
    run(model)
    model.row, model.catalogue = None, Catalogue()
    refusal = plan_tenant(placed(model), model.observe()).refusal
    assert refusal is not None
    assert refusal.reason is Reason.DATA_MISSING


@given(every_quantity)
def test_a_quantity_is_the_same_as_the_api_server_writes_it(text: str) -> None:
    assert manifests.amount(canonical(text)) == manifests.amount(text)
