"""Clears a server of the databases that pods made for trials and did not live to drop."""

import logging

import psycopg

from tenantry_crds import names as api
from tenantry_operator.apply.leftovers import drop_trial
from tenantry_operator.clients.kube import JOBS, Kube
from tenantry_operator.clients.postgres import Connection
from tenantry_operator.observe.leftovers import observe_trials
from tenantry_operator.plan.leftovers import abandoned, at_work
from tenantry_operator.settings import OperatorSettings

logger = logging.getLogger(__name__)


async def clear_trials(kube: Kube, connection: Connection, settings: OperatorSettings, *, server: str) -> None:
    """Drop what nobody is at work in. What cannot be dropped now is tried again at the next look. Raises ApiError."""
    try:
        trials = await observe_trials(connection)
        if not trials:
            return
        jobs = await kube.list(JOBS, namespace=settings.namespace, labels=api.LABEL_TENANT)
        for trial in abandoned(trials, installation=settings.installation_id, at_work={*at_work(jobs)}):
            if await drop_trial(connection, trial):
                logger.warning("dropped what a trial left", extra={"server": server, "database": trial.database})
    except psycopg.Error as error:
        logger.warning("what a trial left cannot be dropped", extra={"server": server, "error": str(error)})
