"""Improve: jobs that make packages, and the way of a package onto the line and back.

A part of the room `page`.
"""
