"""The context: the parts of a page, which every screen gets."""

from dataclasses import dataclass

from partsight.runtime.line import Line
from partsight.runtime.page.access.accounts import Accounts
from partsight.runtime.page.access.audit import AuditLog
from partsight.runtime.page.access.login_limit import LoginLimit
from partsight.runtime.page.access.sessions import Sessions
from partsight.runtime.page.health.event_log import EventLog
from partsight.runtime.page.health.history import HealthHistory
from partsight.runtime.page.improve.jobs import Jobs
from partsight.runtime.page.improve.package_shelf import PackageShelf
from partsight.runtime.page.live.recent_results import RecentResults
from partsight.runtime.page.live.shift import ShiftCounters
from partsight.runtime.page.live.streams import LiveStreams
from partsight.runtime.page.review.reviews import Reviews
from partsight.runtime.page.settings import PageSettings
from partsight.runtime.page.why.explainer import Explainer


@dataclass(frozen=True)
class PageContext:
    """Parts of a page.

    Attributes:
        line: The line that people watch.
        settings: Settings of the page.
        accounts, sessions, audit: Who may do what, and who did what.
        login_limit: How often somebody may try a password.
        recent: Last results of each camera, with pictures.
        shift: Counters since the shift began.
        streams: Streams of events to browsers, with the view of the line that live screens show.
        explainer: Explains results on demand.
        reviews: Frames that the line kept, and decisions about them; None if the line keeps none.
        packages: Packages that the line may take.
        jobs: Work in the background: commissioning and enrolment.
        history: Measures of the cameras over hours.
        events: Last events of the line's log.
    """

    line: Line
    settings: PageSettings
    accounts: Accounts
    sessions: Sessions
    login_limit: LoginLimit
    audit: AuditLog
    recent: RecentResults
    shift: ShiftCounters
    streams: LiveStreams
    explainer: Explainer
    reviews: Reviews | None
    packages: PackageShelf
    jobs: Jobs
    history: HealthHistory
    events: EventLog
