"""Answers about closed executions are kept, within bounds."""

from __future__ import annotations

import pytest

from api import answers
from api.answers import ClosedAnswers


def test_what_was_put_is_there() -> None:
    """An answer is kept as it was given first."""
    kept = ClosedAnswers()
    kept.put("a", b"1")
    kept.put("a", b"2")
    assert (kept.get("a"), kept.get("b")) == (b"1", None)


def test_the_oldest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the size those go that nobody has asked for longest."""
    monkeypatch.setattr(answers, "SIZE", 10)
    kept = ClosedAnswers()
    kept.put("a", b"x" * 4)
    kept.put("b", b"x" * 4)
    kept.get("a")
    kept.put("c", b"x" * 4)
    assert [name for name in "abc" if kept.get(name)] == ["a", "c"]


def test_a_large_answer_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would push out many others."""
    monkeypatch.setattr(answers, "LARGEST", 3)
    kept = ClosedAnswers()
    kept.put("a", b"x" * 4)
    assert kept.get("a") is None
