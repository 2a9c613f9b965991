"""Files that every screen needs: style, scripts, and the choice of the language."""

from importlib.resources import files
from urllib.parse import urlsplit

from starlette.responses import RedirectResponse, Response

from partsight.runtime.page.web.app import LANGUAGE_COOKIE, is_of_host
from partsight.runtime.page.web.call import Call, PageRoute
from partsight.runtime.page.web.messages import LANGUAGES

_STATIC = files("partsight.runtime.page") / "static"
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FILES = {file.name: file.read_bytes() for file in _STATIC.iterdir() if file.name.rpartition(".")[2] in _TYPES}


def asset(call: Call) -> Response:
    """Return a file of the folder `static`."""
    name = call.request.path_params["name"]
    data = _FILES.get(name)
    if data is None:
        return Response(status_code=404)
    kind = _TYPES[name.rpartition(".")[2]]
    return Response(data, media_type=f"{kind}; charset=utf-8", headers={"Cache-Control": "max-age=300"})


def language(call: Call) -> Response:
    """Keep the language that a person chose, in a cookie."""
    response = RedirectResponse(_came_from(call), 303)
    code = call.request.path_params["code"]
    if code in LANGUAGES:
        response.set_cookie(LANGUAGE_COOKIE, code, max_age=365 * 24 * 3600, httponly=True, samesite="strict")
    return response


def _came_from(call: Call) -> str:
    """Return the path of the screen with the link; the header names it, and only a path of this host counts."""
    referer = call.request.headers.get("Referer", "")[:2000]
    if not is_of_host(call, referer):
        return "/"
    found = urlsplit(referer)
    if not found.path.startswith("/") or found.path.startswith("//"):
        return "/"
    return found.path + (f"?{found.query}" if found.query else "")


ROUTES = (
    PageRoute("/static/{name}", asset, None, is_use=False),
    PageRoute("/language/{code}", language, None),
)
