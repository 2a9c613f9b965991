"""The page: a web server next to a running line, for the people who work there."""

from collections.abc import Callable
from pathlib import Path
from typing import Self

from partsight.runtime.core import ProcessBound, import_extra
from partsight.runtime.line import Health, Line
from partsight.runtime.page.access.accounts import Accounts
from partsight.runtime.page.access.audit import AuditLog
from partsight.runtime.page.access.database import Database
from partsight.runtime.page.access.sessions import Sessions
from partsight.runtime.page.app import build_app
from partsight.runtime.page.context import PageContext
from partsight.runtime.page.event_log import EventLog
from partsight.runtime.page.explainer import Explainer
from partsight.runtime.page.health_history import HealthHistory
from partsight.runtime.page.jobs import Jobs
from partsight.runtime.page.package_shelf import PackageShelf
from partsight.runtime.page.recent_results import RecentResults
from partsight.runtime.page.reviews import Reviews
from partsight.runtime.page.screens.routes import ROUTES
from partsight.runtime.page.server import Server
from partsight.runtime.page.settings import PageSettings
from partsight.runtime.page.shift import ShiftCounters
from partsight.runtime.recognition import Recognizer


class Page(ProcessBound):
    """Serves the page of a line until it is closed. Use it as a context manager, around the line.

    Example:
        >>> line = Line(Recognizer("line3.partsight"), cameras, {"kept": open_sink("images:kept")})
        >>> settings = parse_page_address(":9200?data=page&feedback=kept")
        >>> with Page(line, settings, "line3.partsight") as page, line:
        ...     print(page.url)
        ...     line.wait()
    """

    def __init__(
        self,
        line: Line,
        settings: PageSettings,
        package: str | Path,
        *,
        load: Callable[[str | Path], Recognizer] | None = None,
        health: Health | None = None,
    ) -> None:
        """Take the port; `start` begins to answer.

        Args:
            line: Line to watch; the page hears every answer from now on.
            settings: Settings of the page.
            package: Path of the package with which the line starts.
            load: Function that loads another package, see `Line.swap`.
            health: Health of the line; None for a page without measures of the cameras.

        Raises:
            PageError: the page cannot listen there, its data folder cannot be used, or it would send passwords
                unencrypted over a network.
            DependencyError: a library of the extra `page` is not installed.
        """
        import_extra("uvicorn", "page")
        self._database = database = Database(settings.data)
        self._recent = RecentResults(line)
        reviews = Reviews(settings.feedback) if settings.feedback else None
        packages = PackageShelf(line, package, Path(settings.data), load)
        self._jobs = Jobs(packages, Path(settings.data))
        self._history = HealthHistory(line, health)
        self._events = EventLog()
        context = PageContext(
            line=line,
            settings=settings,
            accounts=Accounts(database),
            sessions=Sessions(60 * settings.idle_min),
            audit=AuditLog(database),
            recent=self._recent,
            shift=ShiftCounters(line, settings.starts),
            explainer=Explainer(line, self._recent, reviews),
            reviews=reviews,
            packages=packages,
            jobs=self._jobs,
            history=self._history,
            events=self._events,
        )
        self.context = context
        self._server = Server(build_app(ROUTES, context), settings)

    @property
    def url(self) -> str:
        """Address of the page."""
        return self._server.url

    def start(self) -> None:
        """Answer from now on."""
        self._history.start()
        self._server.start()

    def close(self) -> None:
        """Stop answering, end all jobs, and hang up on all browsers. May be called twice."""
        self._server.close()
        self._jobs.close()
        self._history.close()
        self._events.close()
        self._recent.close()
        self._database.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
