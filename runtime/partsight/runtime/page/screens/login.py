"""The screen `login`."""

from partsight.runtime.page.call import PageRoute

ROUTES: tuple[PageRoute, ...] = ()
