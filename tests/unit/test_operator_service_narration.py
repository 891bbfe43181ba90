"""Golden narrations: whole releases, told action by action. Read them to learn what a release does."""

from textwrap import dedent

from tenantry_operator.plan.service import Action, ScaleDeployment
from tenantry_operator.plan.service_status import wait_of
from tenantry_testing.rollout_memory import START, MemoryCluster


class Narrator:
    """Plays a cluster and writes down what the operator did and what it then waited for; revisions by their image."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self.cluster = cluster
        self.lines: list[str] = []
        self.names: dict[str, str] = {}

    def reconcile(self) -> "Narrator":
        while actions := self.cluster.plan().actions:
            for action in actions:
                self.cluster.do(action)
                self._write(_told(action))
        wait = wait_of(self.cluster.plan())
        self._write(f"waits: {wait.message}" if wait else "waits for nothing")
        return self

    def note(self, text: str) -> "Narrator":
        self._write(f"-- {text}")
        return self

    def pods(self, by: int) -> "Narrator":
        self.cluster.grow(self.cluster.desired.revision, by)
        return self.note(f"{by} pod of {self.cluster.desired.image} becomes ready")

    def taken(self) -> "Narrator":
        self.cluster.take()
        return self.note("the gateway takes the route")

    def passes(self, seconds: float) -> "Narrator":
        self.cluster.turn(seconds)
        return self.note(f"{seconds:g} s pass")

    def ask(self, image: str) -> "Narrator":
        self.cluster.ask(image=image)
        return self.note(f"image {image} is wanted")

    def _write(self, text: str) -> None:
        self.names |= {revision: f"<{self.cluster.image(revision)}>" for revision in self.cluster.revisions()}
        for revision, name in self.names.items():
            text = text.replace(revision, name)
        self.lines.append(f"{(self.cluster.now - START).total_seconds():g}s {text}")

    def __str__(self) -> str:
        return "\n".join(self.lines)


def _told(action: Action) -> str:
    name = action.name if isinstance(action, ScaleDeployment) else action.body["metadata"]["name"]
    kind = "Deployment" if isinstance(action, ScaleDeployment) else action.body["kind"]
    return f"{type(action).__name__} {kind} {name}: {action.reason}"


def expect(narrator: Narrator, text: str) -> None:
    assert str(narrator).strip() == dedent(text).strip()


def test_first_release_and_the_next() -> None:
    told = Narrator(MemoryCluster())
    told.reconcile().pods(2).reconcile().taken().reconcile()
    told.ask("b").reconcile().pods(1).reconcile().pods(1).reconcile().taken().reconcile().passes(15).reconcile()
    expect(
        told,
        """
        0s CreateChild Deployment shop-<a>: revision <a> is wanted
        0s CreateChild Service shop-<a>: revision <a> needs a Service of its own
        0s CreateChild Service shop: callers inside the cluster reach revision <a>
        0s CreateChild HTTPRoute shop: the gateway sends 100 to <a>
        0s waits: 0 of 2 pods of revision <a> are ready
        0s -- 2 pod of a becomes ready
        0s waits: Gateway edge/web has not yet taken the weights of HTTPRoute shop
        0s -- the gateway takes the route
        0s ReplaceChild Service shop: revision <a> is ready and has the traffic: it is promoted
        0s waits for nothing
        0s -- image b is wanted
        0s CreateChild Deployment shop-<b>: revision <b> is wanted
        0s CreateChild Service shop-<b>: revision <b> needs a Service of its own
        0s waits: 0 of 2 pods of revision <b> are ready
        0s -- 1 pod of b becomes ready
        0s ReplaceChild HTTPRoute shop: the weights become 50 to <a>, 50 to <b>; they were 100 to <a>
        0s waits: 1 of 2 pods of revision <b> are ready
        0s -- 1 pod of b becomes ready
        0s ReplaceChild HTTPRoute shop: the weights become 100 to <b>; they were 50 to <a>, 50 to <b>
        0s waits: Gateway edge/web has not yet taken the weights of HTTPRoute shop
        0s -- the gateway takes the route
        0s ReplaceChild Service shop: revision <b> is ready and has the traffic: it is promoted
        0s ReplaceChild HTTPRoute shop: the gateway has taken the weights: the drain begins
        0s waits: revision <a> finishes its requests for 15 s before it is scaled in
        15s -- 15 s pass
        15s ScaleDeployment Deployment shop-<a>: revision <a> has drained
        15s waits for nothing
        """,
    )


def test_back_midway() -> None:
    told = Narrator(MemoryCluster())
    told.cluster.settle()
    told.ask("b").reconcile().pods(1).reconcile().taken().reconcile()
    told.ask("a").reconcile().taken().reconcile().passes(15).reconcile()
    expect(
        told,
        """
        120s -- image b is wanted
        120s CreateChild Deployment shop-<b>: revision <b> is wanted
        120s CreateChild Service shop-<b>: revision <b> needs a Service of its own
        120s waits: 0 of 2 pods of revision <b> are ready
        120s -- 1 pod of b becomes ready
        120s ReplaceChild HTTPRoute shop: the weights become 50 to <a>, 50 to <b>; they were 100 to <a>
        120s waits: 1 of 2 pods of revision <b> are ready
        120s -- the gateway takes the route
        120s waits: 1 of 2 pods of revision <b> are ready
        120s -- image a is wanted
        120s ReplaceChild HTTPRoute shop: the weights become 100 to <a>; they were 50 to <a>, 50 to <b>
        120s waits: Gateway edge/web has not yet taken the weights of HTTPRoute shop
        120s -- the gateway takes the route
        120s ReplaceChild HTTPRoute shop: the gateway has taken the weights: the drain begins
        120s waits: revision <b> finishes its requests for 15 s before it is scaled in
        135s -- 15 s pass
        135s ScaleDeployment Deployment shop-<b>: revision <b> has drained
        135s waits for nothing
        """,
    )
