"""The screen `refused`."""

from partsight.runtime.page.call import PageRoute

ROUTES: tuple[PageRoute, ...] = ()
