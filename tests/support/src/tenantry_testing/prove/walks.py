"""Tenants walk through specs that are drawn from the CRD, and are compared with Tenants that were made with each.

Where a Tenant comes from must not show: what is there in the end, in Postgres, in the registry and in the cluster, is
that of a new Tenant with the same spec.
"""

import itertools
import random
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import httpx

from tenantry_crds.names import API_VERSION
from tenantry_testing.faults.administrator import TENANTS
from tenantry_testing.faults.dump import difference, dump
from tenantry_testing.faults.world import FaultWorld
from tenantry_testing.specs import Drawn, Spec, schema_of

LIMIT: Final = 240.0
"""Seconds in which sixteen Tenants come to their end."""
SIDE: Final = 8
"""So many Tenants walk side by side."""
LOOK: Final = 0.05
TRIES: Final = 50
SWEEPS: Final = 3

# Values that mean something to Kubernetes or to a clock, and which the schema only describes in part.
QUOTAS: Final[Sequence[Spec]] = ({}, {"pods": "20"}, {"requests.cpu": "2", "limits.memory": "4Gi"})
LIMITS: Final[Sequence[Spec]] = (
    {},
    {"default": {"cpu": "1"}},
    {"max": {"memory": "1Gi"}, "defaultRequest": {"cpu": "100m"}},
)
EXTENSIONS: Final = ("citext", "dict_int", "dblink", "nowhere")
"""Two that are trusted, one that only a superuser makes, and one that no server has."""
INTERVALS: Final = ("0s", "24h", "720h")
OVERLAPS: Final = ("10m", "1h", "48h")
SLOT: Final = re.compile(r"(_login_|\"activeSlot\": \")[ab]")
"""Which of the two logins it is tells how often a Tenant was rotated or archived; all else must be the same."""


@dataclass
class Walker:
    """A Tenant on its way, and the spec that it has."""

    name: str
    spec: Spec | None = None


class WalkCampaign:
    """One operator, and Tenants that are changed all the time."""

    def __init__(self, world: FaultWorld, *, seed: str, side: int = SIDE) -> None:
        self._world = world
        self._draw = random.Random(seed)
        self._schema = schema_of(world.layout.root, "tenants")
        self._operator = world.operator()
        self._numbers = itertools.count(1)
        self._walkers = [Walker(f"walker-{number:03d}") for number in range(1, side + 1)]

    def __enter__(self) -> Self:
        self._operator.start()
        self._operator.wait_working()
        self._world.wait(self._world.server_is_ready, "the DatabaseServer is Ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            print(self._operator.tail())
        self._operator.end()

    def round(self) -> list[str]:
        """Let each walker take one step; return what differs from Tenants that were made as they are now."""
        for walker in self._walkers:
            self._step(walker)
        # As long as the walkers' names: of a long value the dump tells only how long it is.
        made = [f"made-{next(self._numbers):05d}" for _ in self._walkers]
        for name, walker in zip(made, self._walkers, strict=True):
            self._create(name, walker.spec or {})
        pairs = [*zip((walker.name for walker in self._walkers), made, strict=True)]
        restless = self._converge([name for pair in pairs for name in pair])
        found = self._differences(pairs)
        self._remove(made)
        return [*found, *restless]

    def _step(self, walker: Walker) -> None:
        """Draw a spec that the API server lets in as the walker's next one, and apply it."""
        for _ in range(TRIES):
            spec = self._spec(walker)
            with suppress(httpx.HTTPStatusError):
                if walker.spec is None:
                    self._create(walker.name, spec)
                else:
                    self._world.administrator.replace(
                        f"{TENANTS}/{walker.name}", "/spec", for_tenant(spec, walker.name)
                    )
                walker.spec = spec
                return
        raise AssertionError(f"no spec was let in after {walker.spec}")

    def _spec(self, walker: Walker) -> Spec:
        spec: Spec = Drawn(self._draw).value(self._schema)
        spec.pop("databaseServer", None)
        if "credentials" in spec and "rotation" in spec["credentials"]:
            choices = {"interval": INTERVALS, "overlap": OVERLAPS}
            given = spec["credentials"]["rotation"]
            spec["credentials"]["rotation"] = {key: self._draw.choice(choices[key]) for key in given}
        if template := spec.get("credentials", {}).get("template"):
            # A name with a digit after it would not be told from another name in a dump.
            spec["credentials"]["template"] = {key: text.replace("}", "} ") for key, text in template.items()}
        if "extensions" in spec.get("database", {}):
            names = self._draw.sample(EXTENSIONS, self._draw.randint(0, len(EXTENSIONS)))
            spec["database"]["extensions"] = [{"name": name} for name in names]
        if walker.spec is not None:
            spec["isolation"] = walker.spec["isolation"]
            if "namespace" in walker.spec:
                spec.setdefault("namespace", {})
        if spec["isolation"] == "Database":
            # The schema of the extensions stays in a database of one's own, and tells that there were some.
            spec.get("database", {}).pop("extensions", None)
        if "namespace" in spec:
            spec["namespace"] = self._namespace(spec["namespace"])
        return spec

    def _namespace(self, given: Spec) -> Spec:
        changed = {key: value for key, value in given.items() if key != "name"}
        for key, choices in (("quota", QUOTAS), ("limits", LIMITS)):
            if key in changed:
                changed[key] = self._draw.choice(choices)
        for number, subject in enumerate(
            one for binding in changed.get("roleBindings", ()) for one in binding["subjects"]
        ):
            subject["name"] = f"person-{number}"
            if subject["kind"] != "ServiceAccount":
                subject.pop("namespace", None)
        return changed

    def _create(self, name: str, spec: Spec) -> None:
        body = {"apiVersion": API_VERSION, "kind": "Tenant", "metadata": {"name": name}, "spec": for_tenant(spec, name)}
        self._world.administrator.create(TENANTS, body)

    def _converge(self, names: Sequence[str]) -> list[str]:
        """Wait until all is quiet; return who comes to no end, or that the operator goes on writing.

        What an operator does over and over again shows in what differs, if it lacks anything in the end.
        """
        end = time.monotonic() + LIMIT
        while late := [name for name in names if not self._is_done(name)]:
            if time.monotonic() > end:
                return [f"{name} comes to no end" for name in late]
            time.sleep(LOOK)
        while time.monotonic() < end:
            began = time.monotonic()
            self._sweep()
            if self._world.effects.quiet_for() >= time.monotonic() - began:
                return []
        return [f"the operator goes on writing: {self._world.effects.labels()[-10:]}"]

    def _is_done(self, name: str) -> bool:
        """Whether the operator has come to an end with the newest spec, good or bad."""
        body = self._world.tenant(name) or {"metadata": {}}
        status = body.get("status", {})
        said = {one["type"]: one["status"] for one in status.get("conditions", [])}
        return (
            status.get("observedGeneration") == body["metadata"].get("generation")
            and said.get("Reconciling") == "False"
        )

    def _sweep(self) -> None:
        def swept() -> float:
            return self._operator.metric("tenantry_sweep_total", kind="Tenant", outcome="ok")

        before = swept()
        self._world.wait(lambda: swept() >= before + SWEEPS, "the operator sweeps", limit=LIMIT)

    def _differences(self, pairs: Sequence[tuple[str, str]]) -> list[str]:
        """Compare once more what differs: a Secret may be on its way to the eyes that read it."""
        found: list[str] = []
        for _ in range(3):
            found = self._compared(pairs)
            if not found:
                break
            self._sweep()
        return found

    def _compared(self, pairs: Sequence[tuple[str, str]]) -> list[str]:
        bodies = {name: self._world.tenant(name) for pair in pairs for name in pair}
        uids = {name: body["metadata"]["uid"] if body else "no uid" for name, body in bodies.items()}
        text = dump(self._world, uids)
        marks = ["" if number == 0 else f" {number}" for number in range(len(uids))]
        found = []
        for (walked, _), ours, theirs in zip(pairs, marks[::2], marks[1::2], strict=True):
            told = difference(lines_about(text, theirs), lines_about(text, ours))
            if told:
                found.append(f"{walked} came to {(bodies[walked] or {}).get('spec')}, and is not as a new one:\n{told}")
        return found

    def _remove(self, names: Sequence[str]) -> None:
        free = {"spec": {"deletionPolicy": "Delete", "deletionProtection": "Disabled"}}
        for name in names:
            self._world.administrator.patch(f"{TENANTS}/{name}", free)
            self._world.delete(name)
        self._world.wait(lambda: not self._left(names), "those that were made are gone", limit=LIMIT)
        for name in names:
            self._world.remove(name)

    def _left(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if not self._world.is_gone(name)]


def for_tenant(spec: Spec, name: str) -> Spec:
    """Make the Secret's name one that no other Tenant has; in a dump it is the same for all."""
    credentials: dict[str, Any] = {**spec.get("credentials", {})}
    if "secretName" not in credentials:
        return spec
    credentials["secretName"] = f"{name}-{len(credentials['secretName'])}"
    return {**spec, "credentials": credentials}


def lines_about(text: str, mark: str) -> str:
    """Return the lines of a dump about one of its Tenants, with its names as if there were no other."""
    words = {f"<{word}{mark}>": f"<{word}>" for word in ("tenant", "uid", "id")}
    found = []
    for line in text.splitlines():
        if any(word in line for word in words):
            for word, plain in words.items():
                line = line.replace(word, plain)  # noqa: PLW2901  word by word
            found.append(SLOT.sub(r"\1?", line))
    return "\n".join(sorted(found))
