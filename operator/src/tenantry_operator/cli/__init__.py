"""The command ``tenantry``."""

import sys

__all__ = ["main"]

RUN = ["operator", "run"]


def main() -> None:
    """Run the command. The operator is started without what talks to people, which would stay in its memory."""
    if sys.argv[1:] == RUN:
        from tenantry_operator.starting import start  # noqa: PLC0415

        sys.exit(start())
    from tenantry_operator.cli.app import main as command  # noqa: PLC0415

    command()
