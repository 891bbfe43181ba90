"""`tenantry` as of a later version: `python -m` this with the folder of its tenant history in the environment."""

import os
from pathlib import Path
from typing import Final

from tenantry_operator.cli import main
from tenantry_testing.histories import tenant_history

MODULE: Final = "tenantry_testing.later_operator"
HISTORY: Final = "TEST_TENANT_HISTORY"

if __name__ == "__main__":
    with tenant_history(Path(os.environ[HISTORY])):
        main()
