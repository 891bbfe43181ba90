"""What goes wrong in a way that a person can cure."""


class ClusterError(Exception):
    """An expected failure: `str()` says what happened, `cure` the command or the step that helps, or is empty."""

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.cure = cure
