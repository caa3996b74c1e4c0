"""The pages of docs/reference, each made from the code that it is about."""

MADE = "This page is made from {source} by `scripts/reference_pages.py`, and a test holds the two together."


def cell(text: str) -> str:
    """Text on one line, as a cell of a table takes it; docstrings as Markdown."""
    return " ".join(text.replace("``", "`").replace(".  ", ". ").split()).replace("|", "\\|")
