"""Arguments of the form name=value."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.values import ArgumentError, parse_pairs, parse_texts


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", 2),
        ("true", True),
        ("null", None),
        ('["a", 1]', ["a", 1]),
        ('"2"', "2"),
        ("2.4.1", "2.4.1"),
        ("#ops", "#ops"),
        ("", ""),
        ("a=b", "a=b"),
        ("@@home", "@home"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
    ],
)
def test_value_is_json_or_else_text(text: str, value: object) -> None:
    """A value that is JSON is taken as JSON, any other as the text that was typed."""
    assert parse_pairs([f"name={text}"]) == {"name": value}


def test_file_is_read_as_json(tmp_path: Path) -> None:
    """@file stands for the content of the file, as JSON where it is."""
    (tmp_path / "hosts.json").write_text('{"hosts": ["a"]}')
    assert parse_pairs([f"name=@{tmp_path}/hosts.json"]) == {"name": {"hosts": ["a"]}}


def test_file_that_is_no_json_is_text(tmp_path: Path) -> None:
    """The content of a file that is not JSON is taken as text, its line ends included."""
    (tmp_path / "note").write_text("two\nlines\n")
    assert parse_pairs([f"name=@{tmp_path}/note"]) == {"name": "two\nlines\n"}


def test_missing_file_is_told() -> None:
    """A file that cannot be read is named, with its parameter."""
    with pytest.raises(ArgumentError, match=r"name: cannot read '/no/such'"):
        parse_pairs(["name=@/no/such"])


@pytest.mark.parametrize("pair", ["name", "=value", ""])
def test_malformed_pair_is_refused(pair: str) -> None:
    """What is not name=value is refused."""
    with pytest.raises(ArgumentError, match="not of the form"):
        parse_pairs([pair])


def test_name_given_twice_is_refused() -> None:
    """The same name twice is a mistake, not the last one's victory."""
    with pytest.raises(ArgumentError, match="given twice"):
        parse_pairs(["a=1", "a=2"])


def test_texts_stay_texts() -> None:
    """A tag's value is text, whatever it looks like."""
    assert parse_texts(["tier=1"]) == {"tier": "1"}
