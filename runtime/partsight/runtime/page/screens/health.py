"""The screen `health`."""

from partsight.runtime.page.call import PageRoute

ROUTES: tuple[PageRoute, ...] = ()
