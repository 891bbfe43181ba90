"""What a server does about the role that only reads, for the model of `tenant_model`."""

from dataclasses import replace

from tenantry_operator.model.reads import Reads
from tenantry_operator.model.tenant import Catalogue
from tenantry_operator.plan.reader_actions import CloseReader, GrantReads, RevokeReads


def change_reads(held: Catalogue, action: GrantReads | RevokeReads | CloseReader) -> Catalogue:
    """Return the catalogue after the action."""
    if isinstance(action, GrantReads):
        return replace(held, reads=replace(held.reads, some=True, lacks=False))
    grants = held.schema_grants
    if isinstance(action, CloseReader):
        grants = frozenset(g for g in grants if (g.on, g.grantee) != (action.schema, action.role))
    return replace(held, schema_grants=grants, reads=Reads(lacks=held.reads.lacks or held.reads.some))
