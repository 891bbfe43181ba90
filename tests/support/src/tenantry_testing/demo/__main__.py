"""`python -m tenantry_testing.demo up|down`."""

import argparse
import sys

from tenantry_cluster import ClusterError, Layout, Steps
from tenantry_testing.demo.down import down
from tenantry_testing.demo.record import read_record
from tenantry_testing.demo.up import up


def show_key(_: Steps, layout: Layout) -> None:
    """Print the sample Tenant's API key, for a command that needs it."""
    print(read_record(layout).tenants[0].api_key)


COMMANDS = {"up": up, "down": down, "key": show_key}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tenantry_testing.demo", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    command = COMMANDS[parser.parse_args().command]
    try:
        command(Steps(), Layout.of_checkout())
    except ClusterError as error:
        print(f"\n{error}", file=sys.stderr)
        if error.cure:
            print(f"cure: {error.cure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
