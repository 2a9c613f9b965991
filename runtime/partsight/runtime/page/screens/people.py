"""The screen `people`."""

from partsight.runtime.page.call import PageRoute

ROUTES: tuple[PageRoute, ...] = ()
