"""What a Job is told, and what it writes down beside a backup."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

FORMAT: Final = 2
"""Of a manifest. The services' part of the first one was SQL, which is not run any more."""


class BackupError(Exception):
    """The Job cannot do what it was told; the message is for people, and nothing was dropped or written over."""


class Value(BaseModel):
    """A frozen value; what a later version added is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Server(Value):
    name: str
    host: str
    port: int
    database: str
    sslmode: str


class Part(Value):
    """One schema: where it is, and the role that reads it and owns what is restored of it."""

    schema_name: str = Field(alias="schema")
    database: str
    role: str


class DumpOrder(Value):
    tenant: str
    id: str
    uid: str
    installation: str
    isolation: str
    marker: str | None
    owner: str
    server: Server
    registry: Server
    """Where it is recorded what the manifest was."""
    parts: tuple[Part, ...]
    roles: tuple[str, ...]
    spec: dict[str, Any] = Field(default_factory=dict)


class BucketOrder(Value):
    """A bucket of S3; the keys to it are mounted."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str


class Content(Value):
    """What is in a schema, so that two can be compared: counts of objects, and rows with a digest by table."""

    objects: Mapping[str, int]
    tables: Mapping[str, str]
    """Rows and digest; of a sequence its last value."""


Segment = Annotated[str, Field(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9_.-]*\z")]
"""One segment of a path. Whoever may write to a place of backups writes manifests too."""


class KeptFile(Value):
    name: Segment
    size: int
    sha256: str


class KeptPart(Value):
    """The customer's schema, as pg_dump writes it."""

    schema_name: str = Field(alias="schema")
    role: str
    file: KeptFile
    content: Content


class KeptTable(Value):
    """One tenant's rows of a table of the services, as COPY writes them, compressed."""

    table: str
    columns: tuple[str, ...]
    file: KeptFile
    content: str
    """Rows and digest."""


class KeptSequence(Value):
    last: int
    called: bool


class LargeObjects(Value):
    """The large objects of the tenant's owner, which pg_dump does not take along with a schema."""

    file: KeptFile
    count: int
    digest: str


class Manifest(Value):
    """Written last, beside the files: a folder without it is no backup."""

    format: int = FORMAT
    tenant: str
    id: Segment
    uid: Segment
    installation: str
    isolation: str
    made_at: str
    server: str
    server_version: int
    client_version: str
    revision: str | None
    owner: str
    roles: tuple[str, ...]
    parts: tuple[KeptPart, ...] = ()
    tables: tuple[KeptTable, ...] = ()
    """Of the services: all of their schema, or of the pool the rows of the tenant."""
    sequences: Mapping[str, KeptSequence] = Field(default_factory=dict)
    """Of the services' schema."""
    large_objects: LargeObjects | None = None
    extensions: tuple[tuple[str, str], ...] = ()
    """Those of its database, with their schemas: one of its own that is made anew gets them."""
    spec: dict[str, Any] = Field(default_factory=dict)
    verified_on: int
    """The version of the server on which it was restored for a trial."""

    @property
    def text(self) -> bytes:
        """What is written; its SHA-256 is recorded."""
        return self.model_dump_json(by_alias=True, indent=2).encode()

    @property
    def rows(self) -> int:
        told = [*(text for part in self.parts for text in part.content.tables.values()),
                *(table.content for table in self.tables)]  # fmt: skip
        counts = [text.partition(" ")[0] for text in told]
        return sum(int(count) for count in counts if count.isdigit())

    @property
    def files(self) -> tuple[KeptFile, ...]:
        large = (self.large_objects.file,) if self.large_objects else ()
        return (*(part.file for part in self.parts), *(table.file for table in self.tables), *large)

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


class RestoreOrder(Value):
    """`path` names the backup below the place; empty is the newest of the tenant."""

    tenant: str
    installation: str
    path: str = ""
    server: Server
    registry: Server
    unrecorded: bool = False
    """Whether it may be one of which the registry knows nothing."""
    logins: int = 1
    """How many logins each service has on the server."""
    most_per_login: int
    """How many tenants each of them reaches at most."""
