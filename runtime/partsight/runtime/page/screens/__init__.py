"""The screens: one module each, with its routes.

A part of the room `page`.
"""
