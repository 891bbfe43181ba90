"""What can go wrong with a history."""


class MigrationError(Exception):
    """The root of this package's errors."""


class WrongHistory(MigrationError):
    """The scripts do not make one line of revisions that each say their phase and their grants."""


class UnknownRevision(MigrationError):
    """A schema or a caller names a revision that this history does not have; the database is probably newer than us."""


class NotAnUpgrade(MigrationError):
    """The revision asked for lies before the one that is there. Histories only go forward."""


class NothingReleased(MigrationError):
    """The registry has not been upgraded yet, so no revision is released."""
