"""What is seen on a server of ways from one tenant to another, beside the facts that a plan puts right."""

from dataclasses import dataclass
from enum import StrEnum

from tenantry_operator.model.names import TENANTS


class Way(StrEnum):
    """A kind of way. Each is said in a person's words, with what closes it, by `plan.tenant_isolation`."""

    # of one tenant
    STRANGERS_OBJECT = "stranger's object"
    """Something in the tenant's schemas belongs to another role, and acts with that one's rights or takes ours."""
    OBJECT_OUTSIDE = "object outside"
    """Something outside the tenant's schemas belongs to one of its roles, and shows others what it sees."""
    # of all tenants of a database
    ROLE = "role"
    """The group of tenants' logins belongs to a role, directly or through others."""
    ATTRIBUTE = "attribute"
    """A role that all share may do what no such role may."""
    OBJECT = "object"
    """The group was given a privilege on an object."""
    MEMBER = "member"
    """Somebody belongs to a role that reaches all tenants."""
    DATABASE = "database"
    """Every tenant's login may do in a database what it should not."""
    SCHEMA = "schema"
    """Every tenant's login may create in a schema."""
    RELATION = "relation"
    """Every tenant's login may write a relation outside the tenants' schemas."""
    VIEW = "view"
    """A view shows every tenant's login what is in a tenant's schemas."""
    DEFINER = "definer"
    """A function that every tenant's login may call runs with the rights of its owner."""
    FUNCTION = "function"
    """Every tenant's login may call a function of the server's that is an administrator's."""
    CATALOGUE = "catalogue"
    """Every tenant's login may read a catalogue that is an administrator's."""
    FOREIGN_SERVER = "foreign server"
    """Every tenant's login may use a foreign server or wrapper."""
    PARAMETER = "parameter"
    """Every tenant's login may set a parameter that is an administrator's."""
    SETTING = "setting"
    """A setting of the server takes a wall down."""
    DEFAULT = "default"
    """What the owner of the services' tables makes is to be somebody else's too."""
    # of all tenants of a pool
    POOL_GUARD = "pool guard"
    """What divides the pool is not as it should be; `subject` says what."""
    POOL_OBJECT = "pool object"
    """Something in the pool's schemas is none of the pool's, and acts with its owner's rights."""


@dataclass(frozen=True, order=True)
class Exposure:
    """One way that was seen. `subject` and `detail` are the catalogue's own words."""

    way: Way
    subject: str
    detail: str = ""
    who: str = TENANTS
    """To whom it is open, if it is to more than one: a group of logins, or PUBLIC in a tenant's own database."""


@dataclass(frozen=True)
class Trial:
    """What came of a log-in with the published credentials that tried to reach others.

    `reached` names what was not refused. `problem` says why nothing could be tried; `refused`, that the server did not
    let the log-in in; `wrong_password`, that it did not for its password.
    """

    reached: tuple[str, ...] = ()
    problem: str = ""
    refused: bool = False
    wrong_password: bool = False
