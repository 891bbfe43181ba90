"""An image is named for what goes into it: no file that does is left out, none that does not is counted."""

from pathlib import Path

import pytest

from tenantry_cluster.dockerfiles import content_digest, copied
from tenantry_cluster.errors import ClusterError

DOCKERFILE = """\
ARG BASE=somewhere
FROM ${BASE} AS build
ARG SERVICE
COPY --chown=1:1 lock \\
     other.lock ./
COPY rooms/${SERVICE} rooms/$SERVICE
RUN echo COPY nothing
FROM ${BASE}
COPY --from=build /venv /venv
ADD archive.tar /
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    for name in ("lock", "other.lock", "archive.tar", "rooms/one/a.py", "rooms/two/b.py", "README"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    return tmp_path


def digest(context: Path, **args: str) -> str:
    return content_digest(context / "Dockerfile", context, args={"SERVICE": "one", **args})


def test_sources_are_read_from_the_context_alone() -> None:
    assert list(copied(DOCKERFILE, args={"SERVICE": "one"})) == ["lock", "other.lock", "rooms/one", "archive.tar"]


@pytest.mark.parametrize("changed", ["lock", "other.lock", "archive.tar", "rooms/one/a.py", "Dockerfile"])
def test_a_change_of_what_goes_in_is_another_image(context: Path, changed: str) -> None:
    before = digest(context)
    file = context / changed
    file.write_text(file.read_text() + "\n# changed\n")
    assert digest(context) != before


def test_a_new_file_and_another_argument_are_another_image(context: Path) -> None:
    seen = {digest(context), digest(context, SERVICE="two"), digest(context, BASE="elsewhere")}
    (context / "rooms/one/c.py").write_text("")
    seen.add(digest(context))
    (context / "rooms/one/c.py").chmod(0o755)
    seen.add(digest(context))
    assert len(seen) == 5


def test_what_does_not_go_in_does_not_count(context: Path) -> None:
    before = digest(context)
    (context / "README").write_text("changed")
    (context / "rooms/two/b.py").write_text("changed")
    (context / "rooms/one/__pycache__").mkdir()
    (context / "rooms/one/__pycache__/a.pyc").write_text("changed")
    assert digest(context) == before


def test_a_missing_source_is_named(context: Path) -> None:
    (context / "lock").unlink()
    with pytest.raises(ClusterError, match="lock, which an image is made of"):
        digest(context)


def test_what_the_projects_images_are_made_of_is_there() -> None:
    root = Path(__file__).parents[2]
    for room, args in (("operator", {}), ("services", {"SERVICE": "accounts"})):
        assert content_digest(root / room / "Dockerfile", root, args=args)
