"""The tables of this service, as the ORM sees them. Migrations make them; nothing here does."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tenantry_kit.tenancy import TenantOwned


class Base(DeclarativeBase):
    """The models of this service. Tables are named without a schema: the unit of work sets the search_path."""

    metadata = MetaData()


class User(TenantOwned, Base):
    """A user of a tenant."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    display_name: Mapped[str | None]
    status: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    version: Mapped[int] = mapped_column()

    # Every UPDATE names the version that was read, and counts it up.
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy reads it from the class
