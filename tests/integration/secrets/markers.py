"""Secrets that can be recognised in whatever form they are written down."""

from __future__ import annotations

import base64
import html
import json
import secrets
import shlex
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field


def token(length: int = 14) -> str:
    """Letters that stand nowhere else."""
    return "".join(secrets.choice("bcdfghjkmnpqrstvwxzBCDFGHJKMNPQRSTVWXZ") for _ in range(length))


@dataclass(frozen=True)
class Marker:
    """The secrets of one source.

    ``hard`` has every character that some notation escapes, ``plain`` is what a header or a login takes, ``key`` is a
    private key.
    """

    source: str
    key: str
    plain: str = field(default_factory=lambda: token(24))
    hard: str = field(default_factory=lambda: f"{token()}\"ü /+<&>'?=%\\~€{token()}")

    def values(self) -> dict[str, str]:
        """The secrets by their names."""
        return {f"{kind}_{self.source}": str(getattr(self, kind)) for kind in ("hard", "plain", "key")}

    def of(self, kind: str) -> str:
        """The template of a playbook that stands for the secret."""
        return f"{{{{ secrets.{kind}_{self.source} }}}}"


def written(value: str) -> list[str]:
    """``value`` in every notation that a service may answer with; what is searched for is made otherwise, below."""
    raw = value.encode()
    quoted = [urllib.parse.quote(value, safe=""), urllib.parse.quote_plus(value), urllib.parse.quote(value)]
    return [
        value,
        *(base64.b64encode(b"x" * shift + raw + b"yz").decode() for shift in range(3)),
        *(base64.urlsafe_b64encode(b"x" * shift + raw).decode() for shift in range(3)),
        raw.hex(),
        raw.hex().upper(),
        *quoted,
        *(_lower_percent(text) for text in quoted),
        json.dumps(value),
        json.dumps(value, ensure_ascii=False),
        json.dumps(value).replace("/", "\\/"),
        html.escape(value),
        html.escape(value, quote=False),
        html.escape(value).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
        repr(value),
        ascii(value),
        repr(raw),
        shlex.quote(value),
        json.dumps(json.dumps(value)),
        urllib.parse.quote(urllib.parse.quote(value)),
    ]


def forms(value: str) -> Iterator[bytes]:
    """What is searched for: ``value`` in every notation, as much of it as no neighbour changes, and its two ends."""
    for text in dict.fromkeys(written(value)):
        if text != value and len(text) > 24 and text.isascii():
            # The first and last characters of base64 are shared with what stands beside.
            yield text.strip('"')[4:-8].encode()
        else:
            yield text.encode()
    for end in (value[:10], value[-10:]):
        yield end.encode()


def parts(marker: Marker) -> dict[bytes, str]:
    """Everything that must not be found, with what it is."""
    found = {}
    for name, value in marker.values().items():
        # Of a key, each of its lines but the first and last, which every key has.
        for piece in [value] if not name.startswith("key") else value.strip().splitlines()[1:-1]:
            if name.startswith("key") and len(piece) < 40:
                continue
            found.update(dict.fromkeys(forms(piece), name))
    return found


def _lower_percent(text: str) -> str:
    pieces = text.split("%")
    return pieces[0] + "".join(f"%{piece[:2].lower()}{piece[2:]}" for piece in pieces[1:])
