"""The audits of ``make check``: what they find, and that there is nothing to find."""

from __future__ import annotations

import base64
import hashlib

import pytest

from scripts import lint_dependencies, lint_secrets
from scripts.lint_dependencies import faults_of_lock, faults_of_project, faults_of_versions
from scripts.lint_secrets import findings

HASH = "--hash=sha256:" + "0a" * 32
RANDOM = base64.b64encode(hashlib.sha512(b"looks random").digest()).decode().replace("+", "a").replace("/", "b")


@pytest.mark.parametrize(
    "text",
    [
        f"token = 'stn_{RANDOM[:43]}'",
        f"AKIA{RANDOM[:16].upper()}",
        f"ghp_{RANDOM[:36]}",
        f"xoxb-{RANDOM[:30]}",
        f"eyJhbGciOiJIUzI1NiJ9.eyJ{RANDOM[:30]}.{RANDOM[:30]}",
        f"STANCHION_ENCRYPTION_KEY={RANDOM[:43]}=",
        "-----BEGIN " + f"PRIVATE KEY-----\n{RANDOM[:60]}",
    ],
)
def test_a_secret_is_found(text: str) -> None:
    """With its line; unless the line says that it was made up."""
    assert [line for line, _ in findings(f"first\n{text}\n".encode())] == [2]
    first, _, rest = text.partition("\n")
    assert list(findings(f"first\n{first}  # not a secret\n{rest}".encode())) == []


@pytest.mark.parametrize("text", ["stn_" + "a" * 43, "AKIAAAAAAAAAAAAAAAAA", "stn_short", "eyJhbGciOiJIUzI1NiJ9"])
def test_what_is_obviously_none_is_not(text: str) -> None:
    """A text that is not random, or too short."""
    assert list(findings(text.encode())) == []


def test_nothing_is_found_in_the_repository(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a secret nor a dependency that should not be there."""
    assert lint_secrets.main() == 0, capsys.readouterr().out
    assert lint_dependencies.main() == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("a==1.0", "has no hash"),
        ("a==1.0 --hash=md5:00", "has no hash"),
        (f"a>=1.0 {HASH}", "is not pinned"),
        (f"a==1.* {HASH}", "is not pinned"),
        (f"a @ https://example.com/a.whl {HASH}", "comes from an address"),
    ],
)
def test_a_lock_that_locks_nothing(line: str, fault: str) -> None:
    """Each entry is one version, by hash, of the index."""
    assert fault in next(iter(faults_of_lock("r.txt", line, {})))


def test_a_sound_lock() -> None:
    """Markers, comments and several hashes are read over."""
    locked: dict[str, str] = {}
    text = f"a==1.0 ; python_version < '4' \\\n    {HASH} \\\n    {HASH}\n    # via b\nB.c==2.0 \\\n    {HASH}\n"
    assert list(faults_of_lock("r.txt", text, locked)) == []
    assert locked == {"a": "1.0", "b-c": "2.0"}


def test_bad_versions() -> None:
    """A range, and versions one by one."""
    bad = "# comment\na <2.0,>=1.0 why\nb ==1.1,==1.3 malicious\n"
    assert list(faults_of_versions({"a": "1.5", "b": "1.3"}, bad)) == ["a 1.5: why", "b 1.3: malicious"]
    assert list(faults_of_versions({"a": "2.0", "b": "1.2"}, bad)) == []


def test_what_the_project_asks_for_is_locked() -> None:
    """In a version that it allows."""
    project = '[project]\nname = "x"\ndependencies = ["a>=2", "b"]\n'
    assert len(list(faults_of_project({"a": "1.0"}, project))) == 2
    assert list(faults_of_project({"a": "2.0", "b": "1"}, project)) == []
