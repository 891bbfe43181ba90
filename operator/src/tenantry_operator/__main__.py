"""``python -m tenantry_operator`` is ``tenantry``."""

from tenantry_operator.cli import main

main()
