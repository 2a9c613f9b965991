"""More than one machine: packages served and run by Ray, on one node or many (extra `ray`).

May import `core`, `images`, `package`, `recognition` and `signing`.
"""
