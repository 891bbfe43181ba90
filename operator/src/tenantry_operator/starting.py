"""What `tenantry operator run` does."""

import asyncio
import sys

from pydantic import ValidationError

from tenantry_operator.allocation import keep_little
from tenantry_operator.logs import configure_logging
from tenantry_operator.process import Exit, run
from tenantry_operator.settings import OperatorSettings


def start() -> Exit:
    """Read the settings, and run the operator until it ends."""
    try:
        settings = OperatorSettings()
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(str(part) for part in problem["loc"]).upper() or "settings"
            print(f"tenantry: TENANTRY_{name}: {problem['msg']}", file=sys.stderr)  # noqa: T201
        return Exit.MISCONFIGURED
    keep_little()
    configure_logging(settings.log_level, settings.log_format)
    return asyncio.run(run(settings))
