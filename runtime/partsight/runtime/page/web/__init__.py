"""The web application: requests, checks, languages, and the server.

A part of the room `page`.
"""
