"""Which files go into an image: read from its Dockerfile, so that nobody keeps a second list."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tenantry_cluster.errors import ClusterError

LEFT_OUT = frozenset({"__pycache__"})
_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")


def content_digest(dockerfile: Path, context: Path, *, args: Mapping[str, str]) -> str:
    """Digest all that decides what is built: the Dockerfile, the arguments, and every file that it copies in.

    Twelve hexadecimal digits. ClusterError when a file that the Dockerfile copies is not there.
    """
    text = dockerfile.read_text()
    digest = hashlib.sha256(text.encode())
    for name, value in sorted(args.items()):
        digest.update(f"\0{name}={value}".encode())
    for source in copied(text, args=args):
        for file in _files(context, source):
            digest.update(f"\0{file.relative_to(context)}\0{file.stat().st_mode & 0o111:o}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def copied(dockerfile: str, *, args: Mapping[str, str]) -> Iterator[str]:
    """Yield the sources of each COPY and ADD from the context, with build arguments put in."""
    for line in dockerfile.replace("\\\n", " ").splitlines():
        words = line.split()
        if words and words[0].upper() in ("COPY", "ADD"):
            plain = [word for word in words[1:] if not word.startswith("--")]
            if not any(word.startswith("--from=") for word in words):
                yield from (_put_in(word, args) for word in plain[:-1])


def _put_in(word: str, args: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: args.get(found[1] or found[2], ""), word)


def _files(context: Path, source: str) -> list[Path]:
    start = context / source
    if start.is_file():
        return [start]
    found = sorted(file for file in start.rglob("*") if file.is_file() and not LEFT_OUT & set(file.parts))
    if not found:
        raise ClusterError(f"{source}, which an image is made of, is not in {context}")
    return found
