"""`python -m tenantry_accounts`: serve until SIGTERM."""

import sys

from tenantry_accounts.app import SERVICE, accounts_app
from tenantry_kit.components import compose
from tenantry_kit.serving import line_output, serve
from tenantry_kit.settings import ServiceSettings


def main() -> int:
    """Serve, and return the exit code of the process."""
    components = compose(SERVICE, ServiceSettings(), log_to=line_output(sys.stdout))
    return serve(accounts_app(components), components)


if __name__ == "__main__":
    sys.exit(main())
