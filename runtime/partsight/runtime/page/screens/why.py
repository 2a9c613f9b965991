"""The screen `why`."""

from partsight.runtime.page.call import PageRoute

ROUTES: tuple[PageRoute, ...] = ()
