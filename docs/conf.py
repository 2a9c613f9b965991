"""Settings of the documentation site: `make docs` builds it into build/docs, to be read without a network."""

from importlib import metadata

project = "partsight"
author = "the partsight authors"
version = release = metadata.version("partsight")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"partsight {release}"
html_copy_source = False

myst_heading_anchors = 3
# Pages also link to files of the repository (programs, results, NOTICE), which are no pages of the site.
# tests/examples/test_links.py checks every link.
suppress_warnings = ["myst.xref_missing"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_numpy_docstring = False
