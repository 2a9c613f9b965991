"""The screen `improve`: commissioning, enrolment, and the package that answers."""

from functools import partial

from starlette.responses import Response

from partsight.runtime.core import PageError
from partsight.runtime.page.access.accounts import Role
from partsight.runtime.page.access.audit import AuditLog
from partsight.runtime.page.improve.formats import local, title
from partsight.runtime.page.improve.job_protocol import JobKind
from partsight.runtime.page.improve.jobs import JobState
from partsight.runtime.page.improve.package_shelf import ShelfPackage
from partsight.runtime.page.improve.view import ImproveView, JobView
from partsight.runtime.page.web.call import Call, PageRoute

_PATH = "/improve"
_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'none'"


def improve(call: Call) -> Response:
    """Show what to do next, what people confirmed, the job, and all packages."""
    values = {"view": ImproveView.of(call), "local": local, "title": title, "n": call.messages.number}
    return call.render("improve.html", values)


def job(call: Call) -> Response:
    """Return the progress of the running job as a part of the screen; load the screen again when the job has ended."""
    state = call.context.jobs.last
    if not call.is_part or state is None or not state.is_running:
        return call.go_to(_PATH)
    return call.render("improve_job.html", {"job": JobView(state, call)})


def report(call: Call) -> Response:
    """Return the newest report in a package, with a policy that lets it run nothing and fetch nothing."""
    data = call.context.packages.report(call.request.path_params["package_id"])
    headers = {"Content-Security-Policy": _REPORT_POLICY, "X-Content-Type-Options": "nosniff"}
    return Response(data, media_type="text/html; charset=utf-8", headers=headers)


def commission(call: Call) -> Response:
    """Start a commissioning."""
    return _start(call, "commission")


def enroll(call: Call) -> Response:
    """Start an enrolment of new parts."""
    return _start(call, "enroll")


def _start(call: Call, kind: JobKind) -> Response:
    context = call.context
    if context.reviews is None:
        raise PageError("this page keeps no frames; start it with the option feedback, the folder of a sink images:")
    state = context.jobs.start(kind, context.reviews.folder, call.who, partial(_log_end, context.audit))
    try:
        call.audit("job_started", kind, state.package_id)
    except PageError:  # nothing happens that the log does not show
        context.jobs.cancel(call.who)
        raise
    return call.go_to(_PATH)


def _log_end(audit: AuditLog, state: JobState) -> None:
    who = state.cancelled_by if state.outcome == "cancelled" else state.who
    after = state.result.package_id if state.result else state.error
    audit.add(who, f"job_{state.outcome}", state.kind, state.package_id, after)


def cancel(call: Call) -> Response:
    """End the running job."""
    call.context.jobs.cancel(call.who)
    return call.go_to(_PATH)


def swap(call: Call) -> Response:
    """Let the line answer with a package; where a second person must approve, ask for it."""
    package = call.context.packages.find(call.form.get("package_id", ""))
    if package.is_active:
        raise PageError(f"the line answers with package {package.facts.package_id} already; choose another one")
    if call.context.settings.approval:
        _ask(call, package.facts.package_id)
    else:
        call.audit("swap_requested", package.facts.package_id, call.context.line.package_id)
        _swap(call, package)
    return call.go_to(_PATH)


def approve(call: Call) -> Response:
    """Approve the swap that another person asked for, and do it."""
    shelf = call.context.packages
    if asked := shelf.requests.open:
        shelf.find(asked.package_id)  # raises if it is gone: the request then stays open
    request = shelf.requests.approve(call.form.get("number", ""), call.who)
    call.audit("swap_approved", request.package_id, f"requested by {request.who}")
    _swap(call, shelf.find(request.package_id))
    return call.go_to(_PATH)


def close(call: Call) -> Response:
    """Reject the swap that another person asked for, or withdraw one's own request."""
    request = call.context.packages.requests.close(call.form.get("number", ""))
    is_own = request.who == call.who
    call.audit(
        "swap_withdrawn" if is_own else "swap_rejected", request.package_id, f"requested by {request.who}", "closed"
    )
    return call.go_to(_PATH)


def _ask(call: Call, package_id: str) -> None:
    requests = call.context.packages.requests
    request = requests.ask(package_id, call.who)
    try:
        call.audit("swap_requested", package_id, call.context.line.package_id)
    except PageError:  # nothing happens that the log does not show
        requests.close(request.number)
        raise


def _swap(call: Call, package: ShelfPackage) -> None:
    package_id = package.facts.package_id
    try:
        done = call.context.packages.swap(package_id)
    except Exception as error:
        call.audit("package_swap_failed", package_id, call.context.line.package_id, str(error))
        raise
    call.audit("package_swapped", package_id, done.before, done.after)


ROUTES: tuple[PageRoute, ...] = (
    PageRoute("/improve", improve, Role.ENGINEER),
    PageRoute("/improve/job", job, Role.ENGINEER, is_use=False),
    PageRoute("/improve/report/{package_id}", report, Role.ENGINEER),
    PageRoute("/improve/commission", commission, Role.ENGINEER, "POST"),
    PageRoute("/improve/enroll", enroll, Role.ENGINEER, "POST"),
    PageRoute("/improve/cancel", cancel, Role.ENGINEER, "POST"),
    PageRoute("/improve/swap", swap, Role.ENGINEER, "POST"),
    PageRoute("/improve/approve", approve, Role.ENGINEER, "POST"),
    PageRoute("/improve/close", close, Role.ENGINEER, "POST"),
)
