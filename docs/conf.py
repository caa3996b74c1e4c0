"""The site of the documentation: ``make docs`` writes it to build/docs.  It asks nobody outside for anything."""

project = "Stanchion"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "Stanchion"
html_copy_source = False
html_show_sphinx = False
exclude_patterns = ["examples/*/tests"]
myst_heading_anchors = 4
