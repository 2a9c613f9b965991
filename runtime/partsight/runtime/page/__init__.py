"""The page: what the people at the line see and do in a browser. Needs the extra `page`.

`screens` has one module per screen, `access` the accounts and the audit log.
May import `core`, `images`, `matching`, `package`, `recognition`, `calibration`, `sinks`, `enrolment`, `feedback` and
`line`.
"""

from partsight.runtime.page.access.accounts import Accounts, Role
from partsight.runtime.page.access.audit import AuditEntry, AuditLog
from partsight.runtime.page.access.database import Database
from partsight.runtime.page.page import Page
from partsight.runtime.page.settings import PageSettings, parse_page_address

__all__ = [
    "Accounts",
    "AuditEntry",
    "AuditLog",
    "Database",
    "Page",
    "PageSettings",
    "Role",
    "parse_page_address",
]
