"""`python -m tenantry_accounts.reference [--check]`: the generated pages of the reference.

Writes `openapi/accounts.json`, `problems.md` and `service-settings.md` into `docs/reference` under the current
directory. With `--check` it writes nothing and exits 1 when one of them is out of date.
"""

import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from tenantry_accounts.app import SERVICE, accounts_app
from tenantry_accounts.errors import ACCOUNTS_PROBLEMS
from tenantry_kit.components import compose
from tenantry_kit.problems import KIT_PROBLEMS, problems_page
from tenantry_kit.settings import ServiceSettings, settings_page

CURE = "python -m tenantry_accounts.reference"


def pages() -> Mapping[str, str]:
    """Return the generated pages by their path in the repository."""
    settings = ServiceSettings(cursor_key=SecretStr("-" * 32))
    app = accounts_app(compose(SERVICE, settings, log_to=io.StringIO()))
    return {
        "docs/reference/openapi/accounts.json": json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n",
        "docs/reference/problems.md": problems_page([*KIT_PROBLEMS, *ACCOUNTS_PROBLEMS]),
        "docs/reference/service-settings.md": settings_page(ServiceSettings),
    }


def outdated(root: Path) -> list[str]:
    """Return the pages under `root` that differ from what the code says."""
    return [
        path
        for path, text in pages().items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]


def write(root: Path) -> None:
    """Write the pages under `root`."""
    for path, text in pages().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Write or check the pages; return the exit code."""
    root = Path.cwd()
    if arguments != ["--check"]:
        write(root)
        return 0
    stale = outdated(root)
    for path in stale:
        sys.stderr.write(f"{path} is out of date; run: {CURE}\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
