"""Secret parameters in what is shown of an execution."""

from __future__ import annotations

from api.execution_json import MASK, mask, secret_values


def test_a_secret_inside_of_a_secret_parameter_is_masked() -> None:
    """A parameter that is an object or a list is secret in all its parts, wherever one of them stands."""
    parameters = {"login": {"user": "root", "keys": ["k-12345", "k-67890"], "pin": 4711}, "plain": "root-cause"}
    secrets = secret_values(parameters, ["login"])
    assert mask({"x": "with k-12345 and k-67890", "pin": 4711}, secrets) == {
        "x": f"with {MASK} and {MASK}",
        "pin": MASK,
    }


def test_what_is_no_secret_text_is_left_alone() -> None:
    """Empty values and truth values stand for nothing that could be told apart."""
    assert secret_values({"a": "", "b": None, "c": True, "d": [], "e": {}}, ["a", "b", "c", "d", "e"]) == ()
