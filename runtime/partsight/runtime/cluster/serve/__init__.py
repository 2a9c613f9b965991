"""Packages behind the KServe v2 protocol, served by Ray Serve. A part of the room `cluster`."""
