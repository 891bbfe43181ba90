"""The problems that this service adds to the kit's."""

from tenantry_kit.problems import ProblemType

EMAIL_TAKEN = ProblemType(
    "email-taken",
    409,
    "Another user has this e-mail address",
    "An address belongs to one user of a tenant, however it is capitalised. Users of other tenants do not count.",
    "Use another address, or change the user who has it.",
)

ACCOUNTS_PROBLEMS = (EMAIL_TAKEN,)
