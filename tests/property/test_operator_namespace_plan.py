"""A Tenant's namespace: a played plan leaves an empty one, from any state, through any crash; others' stay."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tenantry_crds import names as api
from tenantry_crds.reasons import Reason
from tenantry_crds.tenantnamespace import QUANTITY
from tenantry_operator.model.adoption import Adoption
from tenantry_operator.model.namespace import Binding, DesiredNamespace, Subject
from tenantry_operator.model.tenant import Deletion, DesiredTenant, Leaving
from tenantry_operator.plan import namespace_manifests as manifests
from tenantry_operator.plan.tenant import plan_tenant
from tenantry_operator.plan.tenant_deletion import deletion_actions
from tenantry_operator.plan.tenant_namespace import (
    namespace_actions,
    namespace_leaving,
    namespace_problem,
    namespace_waited_for,
)
from tenantry_testing.namespace_model import NamespaceModel, canonical
from tenantry_testing.tenant_damages import make_desired
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


@given(every_quantity)
def test_a_quantity_is_the_same_as_the_api_server_writes_it(text: str) -> None:
    assert manifests.amount(canonical(text)) == manifests.amount(text)
