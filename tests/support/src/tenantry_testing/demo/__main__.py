"""`python -m tenantry_testing.demo up|down|env`."""

import argparse
import sys

from tenantry_cluster import ClusterError, Layout, Steps
from tenantry_testing.demo.closing import shell_lines
from tenantry_testing.demo.down import down
from tenantry_testing.demo.programs import Programs
from tenantry_testing.demo.record import read_record
from tenantry_testing.demo.up import up


def show_environment(_: Steps, layout: Layout) -> None:
    """Print what a shell needs to talk to the demo."""
    print(shell_lines(Programs(layout.kubeconfig, layout.bin), read_record(layout)))


COMMANDS = {"up": up, "down": down, "env": show_environment}


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
