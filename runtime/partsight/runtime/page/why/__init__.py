"""Why: explanations of results, as pictures and words.

A part of the room `page`.
"""
