"""Finds the templates ``{{ … }}`` in a text, and reads past the string literals and comments of CEL in them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SKIP = re.compile(
    r"""[bB]?[rR][bB]?'''.*?''' | [bB]?[rR][bB]?\"{3}.*?\"{3} | [bB]?[rR][bB]?'[^'\n]*' | [bB]?[rR][bB]?"[^"\n]*"
      | '''(?:\\.|[^\\])*?''' | \"{3}(?:\\.|[^\\])*?\"{3} | '(?:\\.|[^'\\\n])*' | "(?:\\.|[^"\\\n])*"
      | //[^\n]* | [A-Za-z_0-9]+""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Span:
    """One template: the whole is ``text[start:end]``, its expression ``text[inner_start:inner_end]``."""

    start: int
    end: int
    inner_start: int
    inner_end: int


class UnclosedTemplate(Exception):
    """A ``{{`` without its ``}}``; ``position`` is its offset."""

    def __init__(self, position: int) -> None:
        super().__init__("this {{ has no }}")
        self.position = position


def find_templates(text: str) -> list[Span]:
    """The templates of ``text``, in order.  Raises UnclosedTemplate."""
    spans: list[Span] = []
    position = text.find("{{")
    while position >= 0:
        end = _closing(text, position + 2)
        if end is None:
            raise UnclosedTemplate(position)
        spans.append(Span(position, end + 2, position + 2, end))
        position = text.find("{{", end + 2)
    return spans


def _closing(text: str, position: int) -> int | None:
    """Offset of the ``}}`` that closes the template whose expression begins at ``position``."""
    depth = 0
    while position < len(text):
        character = text[position]
        if character == "}":
            if depth:
                depth -= 1
            elif text.startswith("}}", position):
                return position
        elif character == "{":
            depth += 1
        elif match := _SKIP.match(text, position):
            position = match.end()
            continue
        position += 1
    return None


def braces_to_parentheses(source: str) -> str:
    """``source`` with each ``{{ … }}`` outside of string literals as parentheses, every character in its place.

    S4E writes ``'production' in {{ asset.tags }}``; in CEL itself two opening braces in a row mean nothing.
    """
    if "{{" not in source:
        return source
    characters = list(source)
    opened: list[bool] = []
    position = 0
    while position < len(source):
        character = source[position]
        if source.startswith("{{", position):
            opened.append(True)
            characters[position : position + 2] = " ("
            position += 1
        elif character == "{":
            opened.append(False)
        elif character == "}" and opened:
            if opened[-1] and source.startswith("}}", position):
                characters[position : position + 2] = ") "
                position += 1
            opened.pop()
        elif match := _SKIP.match(source, position):
            position = match.end()
            continue
        position += 1
    return "".join(characters)
