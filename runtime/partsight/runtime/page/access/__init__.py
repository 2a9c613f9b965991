"""Who may do what on the page: accounts, sessions, and the audit log of what people did.

A part of the room `page`.
"""
