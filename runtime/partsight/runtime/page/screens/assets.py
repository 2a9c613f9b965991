"""Files that every screen needs: style, scripts, and the choice of the language."""

from importlib.resources import files

from starlette.responses import RedirectResponse, Response

from partsight.runtime.page.web.app import LANGUAGE_COOKIE
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
    response = RedirectResponse("/", 303)
    code = call.request.path_params["code"]
    if code in LANGUAGES:
        response.set_cookie(LANGUAGE_COOKIE, code, max_age=365 * 24 * 3600, httponly=True, samesite="strict")
    return response


ROUTES = (
    PageRoute("/static/{name}", asset, None, is_use=False),
    PageRoute("/language/{code}", language, None),
)
