"""Whether a server answers: it logs each change once, and counts attempts that failed."""

import logging
import threading
import time
from dataclasses import dataclass, field

_log = logging.getLogger("partsight.runtime")


@dataclass
class ServerWatch:
    """Watches the attempts of all threads.

    Attributes:
        server: The server, for the log.
    """

    server: str
    _retries: int = 0
    _failed: int = 0
    _lost_at: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def note_retry(self) -> None:
        """Count an attempt that follows one that failed."""
        with self._lock:
            self._retries += 1

    def take_retries(self) -> int:
        """Return the number of retries since the last call."""
        with self._lock:
            retries, self._retries = self._retries, 0
        return retries

    def note_failure(self, reason: str) -> None:
        """Note an attempt that failed."""
        with self._lock:
            is_news, self._failed = self._lost_at is None, self._failed + 1
            if is_news:
                self._lost_at = time.monotonic()
        if is_news:
            extra = {"event": "server_lost", "server": self.server}
            text = "server %s does not answer as it should: %s"
            _log.warning(text, self.server, reason.removeprefix(f"{self.server}: "), extra=extra)

    def note_answer(self) -> None:
        """Note an answer."""
        if self._lost_at is None:  # without the lock: it is so nearly always
            return
        with self._lock:
            lost_at, self._lost_at = self._lost_at, None
            failed, self._failed = self._failed, 0
        if lost_at is not None:
            extra = {"event": "server_back", "server": self.server, "failed": failed}
            text = "server %s answers again, after %.1f s and %d attempts that failed"
            _log.info(text, self.server, time.monotonic() - lost_at, failed, extra=extra)
