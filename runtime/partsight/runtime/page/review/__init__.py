"""Review: frames that the line kept, and decisions of people about them.

A part of the room `page`.
"""
