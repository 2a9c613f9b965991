"""Health: troubles, measures over hours, and events of the log.

A part of the room `page`.
"""
