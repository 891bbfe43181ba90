"""The composition root of a service: every object that lives as long as the process, made in one place."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from pydantic import SecretStr

from tenantry_kit.databases import Databases, PoolLimits
from tenantry_kit.health import Health
from tenantry_kit.logs import Logger, Threshold, make_logger
from tenantry_kit.metrics import Metrics
from tenantry_kit.mounted import MountedText
from tenantry_kit.pagination import Cursors
from tenantry_kit.principal import Authenticator
from tenantry_kit.registry import Registry
from tenantry_kit.settings import ServiceSettings
from tenantry_kit.tenancy import UnitsOfWork


@dataclass(frozen=True)
class Components:
    """What the routes of a service are given."""

    service: str
    settings: ServiceSettings
    logger: Logger
    threshold: Threshold
    metrics: Metrics
    databases: Databases
    registry: Registry
    authenticator: Authenticator
    units: UnitsOfWork
    cursors: Cursors
    health: Health
    now: Callable[[], datetime]


def compose(
    service: str,
    settings: ServiceSettings,
    *,
    log_to: TextIO,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    monotonic: Callable[[], float] = time.monotonic,
) -> Components:
    """Make the components of a service. Nothing is opened: connections are made at first use."""
    threshold = Threshold(settings.log_level)
    logger = make_logger(log_to, settings.log_format, threshold=threshold, service=service)
    metrics = Metrics()
    limits = PoolLimits(
        settings.pool_size, settings.pool_timeout, settings.connect_timeout, apart=settings.own_databases
    )
    databases = Databases(settings.databases_dir, limits, application_name=f"tenantry-{service}", monotonic=monotonic)
    registry = Registry(databases, settings.registry_server, monotonic=monotonic)
    return Components(
        service=service,
        settings=settings,
        logger=logger,
        threshold=threshold,
        metrics=metrics,
        databases=databases,
        registry=registry,
        authenticator=Authenticator(registry, service=service, environment=settings.environment, now=now),
        units=UnitsOfWork(databases, metrics, logger, statement_timeout=settings.statement_timeout),
        cursors=Cursors(_cursor_key(settings, monotonic)),
        health=Health(databases, registry, metrics, monotonic=monotonic),
        now=now,
    )


def _cursor_key(settings: ServiceSettings, monotonic: Callable[[], float]) -> Callable[[], str]:
    if settings.cursor_key_file is not None:
        return MountedText(settings.cursor_key_file, monotonic)
    return (settings.cursor_key or SecretStr("")).get_secret_value
