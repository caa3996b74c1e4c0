"""Expressions for the property test: mostly well-formed, of mixed types, over ``DATA``."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st

DATA: Final[dict[str, Any]] = {
    "parameters": {
        "i": 7,
        "big": 2**63 - 1,
        "small": -(2**63),
        "zero": 0,
        "f": 2.5,
        "g": -0.0,
        "s": "héllo",
        "e": "",
        "t": "2026-02-28T23:59:59.5Z",
        "d": "1h30m",
        "yes": True,
        "no": False,
        "n": None,
        "l": [1, 2.0, "3", None, True, [1]],
        "ints": [3, 1, 2],
        "bools": [True, False],
        "m": {"a": 1, "b": {"c": "x"}, "1": 2},
    }
}

_NAMES = [f"parameters.{name}" for name in DATA["parameters"]]
_LITERALS = [
    *("0", "1", "-1", "2", "7", "9223372036854775807", "-9223372036854775808", "0u", "3u", "18446744073709551615u"),
    *("1.5", "-2.0", "0.0", "1e300", "9007199254740993.0", "9223372036854775807.0", "100000000.0", "0.1"),
    *("''", "'a'", "'héllo'", "'12'", "'-3'", "'2.5'", "'true'", "'x y'", "'2026-01-01T00:00:00+02:00'", "'90s'"),
    *("b'ab'", "b'\\xff'", "true", "false", "null", "[]", "{}", "int", "string", "timestamp(0)"),
    *("timestamp('2024-02-29T12:30:45.123456Z')", "duration('1h1.5s')", "duration('-90m')", "duration('0')"),
]
_BINARY = ["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in"]
_FUNCTIONS = ["size", "int", "uint", "double", "string", "bytes", "bool", "type", "timestamp", "duration", "-", "!"]
_GETTERS = ["getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getHours"]
_GETTERS += ["getMinutes", "getSeconds", "getMilliseconds"]
_MACROS = ["all", "exists", "exists_one", "map", "filter"]


def _dynamic(text: str) -> str:
    return f"dyn({text})"


_atoms = st.sampled_from([*_NAMES, "parameters.missing", *map(_dynamic, _LITERALS), *_LITERALS])


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(inner, inner)
    return st.one_of(
        st.builds(lambda pair, operator: f"({pair[0]} {operator} {pair[1]})", pairs, st.sampled_from(_BINARY)),
        st.builds(lambda pair, third: f"({third} ? {pair[0]} : {pair[1]})", pairs, inner),
        st.builds(lambda pair: f"dyn({pair[0]})[{pair[1]}]", pairs),
        st.builds(lambda name, operand: f"{name}(dyn({operand}))", st.sampled_from(_FUNCTIONS), inner),
        st.builds(lambda operand, field: f"dyn({operand}).{field}", inner, st.sampled_from(["a", "b", "c"])),
        st.builds(lambda operand, field: f"has(dyn({operand}).{field})", inner, st.sampled_from(["a", "b", "c"])),
        st.builds(
            lambda pair, name: f"dyn({pair[0]}).{name}(dyn({pair[1]}))",
            pairs,
            st.sampled_from(["contains", "startsWith", "endsWith"]),
        ),
        st.builds(lambda operand, name: f"dyn({operand}).{name}()", inner, st.sampled_from(_GETTERS)),
        st.builds(
            lambda pair, name, variable: f"dyn({pair[0]}).{name}({variable}, {pair[1]})",
            pairs,
            st.sampled_from(_MACROS),
            st.sampled_from(["x", "y"]),
        ),
        st.builds(
            lambda pair, body: f"dyn({pair[0]}).map(x, dyn({pair[1]}) == x, {body})", pairs, inner | st.just("x")
        ),
        st.builds(lambda pair: f"[dyn({pair[0]}), dyn({pair[1]})]", pairs),
        st.builds(lambda pair: f"{{'a': dyn({pair[0]}), 'b': dyn({pair[1]})}}", pairs),
        st.builds(lambda pair: f"{{1: dyn({pair[0]}), 'b': dyn({pair[1]})}}", pairs),
        st.builds(lambda pair: f"{{false: dyn({pair[0]}), true: dyn({pair[1]})}}", pairs),
    )


expressions = st.recursive(_atoms, _grown, max_leaves=8)
in_macro = st.recursive(_atoms | st.sampled_from(["x", "x", "y"]), _grown, max_leaves=6)
macros = st.builds(
    lambda source, name, body: f"dyn({source}).{name}(x, {body.replace('y', 'x') if body == 'y' else body})",
    st.sampled_from(["parameters.l", "parameters.ints", "parameters.bools", "parameters.m", "['a', 'b']"]),
    st.sampled_from(_MACROS),
    in_macro,
)
