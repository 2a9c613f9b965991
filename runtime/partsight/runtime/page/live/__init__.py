"""Live: the last results of each camera, their pictures and the counters of the shift.

A part of the room `page`.
"""
