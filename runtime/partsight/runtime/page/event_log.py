"""The last events of the line's log."""


class EventLog:
    """Listens to the loggers of partsight."""

    def __init__(self) -> None:
        """Listen from now on."""

    def close(self) -> None:
        """Listen no more. May be called twice."""
