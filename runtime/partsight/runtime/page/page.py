"""The page: a web server next to a running line, for the people who work there."""

from contextlib import ExitStack
from pathlib import Path
from typing import Self

from partsight.runtime.core import PageError, ProcessBound, import_extra
from partsight.runtime.line import Health, Line, Load
from partsight.runtime.page.access.account_watch import AccountWatch
from partsight.runtime.page.access.accounts import Accounts
from partsight.runtime.page.access.audit import AuditLog
from partsight.runtime.page.access.database import Database
from partsight.runtime.page.access.login_limit import LoginLimit
from partsight.runtime.page.access.sessions import Sessions
from partsight.runtime.page.context import PageContext
from partsight.runtime.page.health.event_log import EventLog
from partsight.runtime.page.health.history import HealthHistory
from partsight.runtime.page.health.troubles import current_troubles
from partsight.runtime.page.improve.jobs import Jobs
from partsight.runtime.page.improve.package_shelf import PackageShelf
from partsight.runtime.page.live.recent_results import RecentResults
from partsight.runtime.page.live.shift import ShiftCounters
from partsight.runtime.page.live.streams import LiveStreams
from partsight.runtime.page.live.view import LiveView
from partsight.runtime.page.review.reviews import Reviews
from partsight.runtime.page.screens.routes import ROUTES
from partsight.runtime.page.settings import PageSettings
from partsight.runtime.page.web.app import build_app
from partsight.runtime.page.web.server import Server
from partsight.runtime.page.why.explainer import Explainer


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
        load: Load | None = None,
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
        with ExitStack() as parts:
            database = Database(settings.data)  # first of all: it makes the folder, for this user alone
            parts.callback(database.close)
            packages = PackageShelf(line, package, database.folder, load)
            self.context = context = _context(line, settings, database, packages, health, parts)
            self._watch = AccountWatch(context.accounts, context.sessions)
            parts.callback(self._watch.close)
            self._server = Server(build_app(ROUTES, context), settings)
            parts.callback(self._server.close)
            parts.callback(context.recent.close)  # first of all: the server waits for streams, and they end then
            self._parts = parts.pop_all()
        self._is_closed = False

    @property
    def url(self) -> str:
        """Address of the page."""
        return self._server.url

    def start(self) -> None:
        """Answer from now on.

        Raises:
            PageError: the page is closed.
        """
        if self._is_closed:
            raise PageError("this page is closed; make another Page")
        self.context.history.start()
        self._watch.start()
        self._server.start()

    def close(self) -> None:
        """Stop answering, end all jobs, and hang up on all browsers. May be called twice."""
        self._is_closed = True
        self._parts.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _context(
    line: Line,
    settings: PageSettings,
    database: Database,
    packages: PackageShelf,
    health: Health | None,
    parts: ExitStack,
) -> PageContext:
    """Make the parts of a page; `parts` closes them in reverse order."""
    events = EventLog()
    parts.callback(events.close)
    history = HealthHistory(line, health)
    parts.callback(history.close)
    jobs = Jobs(packages)
    parts.callback(jobs.close)
    recent = RecentResults(line)
    parts.callback(recent.close)
    reviews = Reviews(settings.feedback) if settings.feedback else None
    shift = ShiftCounters(line, settings.starts)
    parts.callback(shift.close)
    return PageContext(
        line=line,
        settings=settings,
        accounts=Accounts(database),
        sessions=Sessions(60 * settings.idle_min),
        login_limit=LoginLimit(),
        audit=AuditLog(database),
        recent=recent,
        shift=shift,
        streams=LiveStreams(LiveView(line, recent, shift), lambda: len(current_troubles(line, history, events))),
        explainer=Explainer(line, recent, reviews),
        reviews=reviews,
        packages=packages,
        jobs=jobs,
        history=history,
        events=events,
    )
