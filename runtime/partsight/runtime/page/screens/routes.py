"""All routes of the page."""

from partsight.runtime.page.screens import (
    assets,
    health,
    improve,
    live,
    login,
    people,
    refused,
    why,
)
from partsight.runtime.page.web.call import PageRoute

ROUTES: tuple[PageRoute, ...] = (
    *assets.ROUTES,
    *login.ROUTES,
    *live.ROUTES,
    *why.ROUTES,
    *refused.ROUTES,
    *improve.ROUTES,
    *health.ROUTES,
    *people.ROUTES,
)
