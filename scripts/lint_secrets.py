"""Refuses secrets in the repository: keys, tokens and passwords by the form that their issuers give them.

Reads every file that git knows.  A made-up secret in a test, which has to look like a real one, carries
``not a secret`` on its line.  Exit code 1 when there is one that does not.
"""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
ALLOWED = "not a secret"
LARGEST = 2_000_000
RANDOM_BITS = 3.2
"""Entropy a character from which a text looks random; ``aaaa`` has 0, hexadecimal at most 4."""

FORMS = {
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----\s*\n?[A-Za-z0-9+/=]{40}",
    "a token of this product": r"\bstn_([A-Za-z0-9_-]{43})\b",
    "an access key of AWS": r"\b(?:AKIA|ASIA)([A-Z0-9]{16})\b",
    "a token of GitHub": r"\b(?:gh[pousr]_|github_pat_)([A-Za-z0-9_]{36,})\b",
    "a token of GitLab": r"\bglpat-([A-Za-z0-9_-]{20,})\b",
    "a token of Slack": r"\bxox[abposr]-([A-Za-z0-9-]{20,})\b",
    "a webhook of Slack": r"https://hooks\.slack\.com/services/(T[A-Z0-9]{8,}/B[A-Z0-9]{8,}/[A-Za-z0-9]{20,})",
    "a key of Google": r"\bAIza([A-Za-z0-9_-]{35})\b",
    "a key of Stripe": r"\b[sr]k_live_([A-Za-z0-9]{20,})\b",
    "a token of npm or PyPI": r"\b(?:npm_|pypi-)([A-Za-z0-9_-]{36,})\b",
    "a JSON Web Token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ([A-Za-z0-9_-]{20,})\.[A-Za-z0-9_-]{20,}",
    "an encryption key": r"STANCHION_ENCRYPTION_KEY['\"]?\s*[=:]\s*['\"]?([A-Za-z0-9+/]{43}=)",
}
PATTERNS = {kind: re.compile(form.encode()) for kind, form in FORMS.items()}


def findings(content: bytes) -> Iterator[tuple[int, str]]:
    """Line and kind of each secret in ``content``."""
    for kind, pattern in PATTERNS.items():
        for match in pattern.finditer(content):
            secret = match[1] if match.lastindex else match[0]
            start = content.rfind(b"\n", 0, match.start()) + 1
            end = content.find(b"\n", match.start())
            line = content[start : end if end >= 0 else len(content)]
            if ALLOWED.encode() not in line and _bits(secret) >= RANDOM_BITS:
                yield content.count(b"\n", 0, match.start()) + 1, kind


def _bits(text: bytes) -> float:
    counts = Counter(text)
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts.values())


def _files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    # An archive of the sources has no history to ask.
    return [path for path in ROOT.rglob("*") if not {".venv", ".git", "node_modules"} & set(path.parts)]


def main() -> int:
    """Prints each secret's place, never the secret."""
    found = 0
    for path in _files():
        if path.is_file() and path.stat().st_size <= LARGEST:
            for line, kind in findings(path.read_bytes()):
                print(f"{path.relative_to(ROOT)}:{line}: {kind}; if it was made up, say `{ALLOWED}` on its line")
                found += 1
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
