"""The web application: routes of all screens, and the checks that each request passes before a screen sees it."""

import asyncio
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import parse_qsl, quote, urlsplit

from jinja2 import Environment, PackageLoader
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from partsight.runtime.core import PartsightError
from partsight.runtime.page.access.sessions import Session
from partsight.runtime.page.context import PageContext
from partsight.runtime.page.web.call import AsyncHandler, Call, Handler, PageRoute
from partsight.runtime.page.web.messages import choose_language, messages_of

LANGUAGE_COOKIE = "partsight_language"

MAX_BODY_BYTES = 64 * 1024
"""Largest form."""

FORM_S = 20.0
"""Seconds in which a form must be there: 100 slow ones would take all connections."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every answer, unless the answer has its own."""

_log = logging.getLogger("partsight.page")


class _RefusedError(Exception):
    """A request that gets no further; the answer says why."""

    def __init__(self, response: Response) -> None:
        self.response = response


class _Endpoint:
    """Answers the requests of one route."""

    def __init__(self, route: PageRoute, context: PageContext, templates: Environment) -> None:
        self._route, self._context, self._templates = route, context, templates

    async def answer(self, request: Request) -> Response:
        """Check the request, let the screen answer, and add the headers of every answer."""
        response = await self._answer(self._call(request))
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    def _call(self, request: Request) -> Call:
        chosen, accepted = request.cookies.get(LANGUAGE_COOKIE, ""), request.headers.get("Accept-Language", "")
        messages = messages_of(choose_language(chosen, accepted))
        call = Call(self._context, request, None, messages, self._templates)
        return replace(call, session=self._session(call.token))

    async def _answer(self, call: Call) -> Response:
        handler = self._route.handler
        try:
            call = await self._checked(call)
            if self._route.is_stream:
                return await _stream(handler, call)
            return await run_in_threadpool(_plain, handler, call)
        except _RefusedError as refused:
            return refused.response
        except ClientDisconnect:
            return Response(status_code=400)
        except PartsightError as error:
            return _problem(call, 409, str(error))
        except Exception as error:  # noqa: BLE001 (a fault of one screen harms no other)
            extra = {"event": "page_failed", "path": self._route.path}
            _log.exception("the page cannot answer %s: %s", self._route.path, error, extra=extra)
            return _problem(call, 500, call.text("common.failed"))

    async def _checked(self, call: Call) -> Call:
        """Return the call with its form; raises _RefusedError if it may not be made."""
        request, session = call.request, call.session
        if self._route.method == "POST":
            _check_origin(call)
            call = replace(call, form=await _form(call))
        if self._route.role is None:
            return call
        if session is None:
            raise _RefusedError(_to_login(call))
        if session.role < self._route.role:
            await run_in_threadpool(call.audit, "refused", f"{request.method} {request.url.path}", session.role.word)
            needed = call.text(f"common.role_{self._route.role.word}")
            raise _RefusedError(_problem(call, 403, call.text("common.role_too_low", role=needed)))
        if self._route.method == "POST" and not _has_token(call, session):
            await run_in_threadpool(call.audit, "refused", f"POST {request.url.path}", "csrf")
            raise _RefusedError(_problem(call, 403, call.text("common.form_too_old")))
        return call

    def _session(self, token: str) -> Session | None:
        return self._context.sessions.find(token, is_use=self._route.is_use) if token else None


def build_app(routes: Sequence[PageRoute], context: PageContext) -> Starlette:
    """Return the application.

    Args:
        routes: Routes of all screens.
        context: Parts of the page.
    """
    loader = PackageLoader("partsight.runtime.page", "templates")
    templates = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    found = [Route(route.path, _Endpoint(route, context, templates).answer, methods=[route.method]) for route in routes]
    for route in found:
        (route.methods or set()).discard("HEAD")  # Starlette adds it to GET; a stream would never end it
    app = Starlette(routes=found, exception_handlers={404: _not_found, 405: _not_found})
    app.router.redirect_slashes = False  # the redirect would name the host that the request names
    return app


async def _stream(handler: Handler | AsyncHandler, call: Call) -> Response:
    response = handler(call)
    return response if isinstance(response, Response) else await response


def _plain(handler: Handler | AsyncHandler, call: Call) -> Response:
    response = handler(call)
    if not isinstance(response, Response):
        raise TypeError(f"{handler} is a stream's handler; set is_stream")
    return response


def _check_origin(call: Call) -> None:
    """Refuse a form that another site sends: browsers name the site in the header Origin."""
    origin = call.request.headers.get("Origin")
    if origin is not None and not is_of_host(call, origin):
        raise _RefusedError(_problem(call, 403, call.text("common.other_site")))


def is_of_host(call: Call, address: str) -> bool:
    """Return whether an address that a browser sends names the host that it asks."""
    try:
        return urlsplit(address).netloc == call.request.headers.get("Host")
    except ValueError:
        return False


def _has_token(call: Call, session: Session) -> bool:
    sent = call.request.headers.get("X-CSRF-Token") or call.form.get("csrf", "")
    return secrets.compare_digest(sent.encode(), session.csrf.encode())


async def _form(call: Call) -> Mapping[str, str]:
    body = b""
    try:
        async with asyncio.timeout(FORM_S):
            async for chunk in call.request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise _RefusedError(_problem(call, 413, call.text("common.form_too_large")))
    except TimeoutError as error:
        raise _RefusedError(Response(status_code=408, headers={"Connection": "close"})) from error
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1000))
    except ValueError as error:
        raise _RefusedError(_problem(call, 400, call.text("common.form_malformed"))) from error


def _to_login(call: Call) -> Response:
    request = call.request
    path = "/login"
    if request.method == "GET" and not call.is_part:
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        path = "/login" if target == "/" else f"/login?next={quote(target, safe='')}"
    if call.is_part or "text/html" not in request.headers.get("Accept", "text/html"):
        return PlainTextResponse("401\n", 401, headers={"HX-Redirect": "/login"})
    return RedirectResponse(path, 303)


def _problem(call: Call, status: int, text: str) -> Response:
    """Return a page, or a part for htmx, with the problem and the remedy."""
    return call.render(
        "problem_part.html" if call.is_part else "problem.html", {"text": text, "status": status}, status
    )


async def _not_found(_: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return PlainTextResponse(f"{status}\n", status, headers=HEADERS | dict(getattr(error, "headers", None) or {}))
