"""Throws generated input at everything that reads what others write: ``python -m scripts.fuzz SECONDS [TARGET…]``.

Each target runs in a process of its own, with a bound for its memory and a timer for each input.  The only errors
that count as answers are those that the reader raises on purpose.  Prints how many inputs each target took; for one
that failed, the input, and the exit code is 1.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from starlette.requests import Request

from activities.catalogue import load_catalogue
from api.phantom.query import list_query
from executions.errors import BadRequest
from playbooks.compile import compile_playbook
from playbooks.evaluation import evaluate
from playbooks.expressions import ExpressionError, compile_expression
from playbooks.faults import DefinitionError
from playbooks.parameters import ParameterErrors, to_schema, validate_parameters
from playbooks.values import EvaluationError
from storage.phantom.containers import ARTIFACTS
from storage.phantom.filters import BadFilter, UnknownField, where

MEMORY = 512 * 1024 * 1024
"""Bytes beyond what the modules take."""

INPUT_SECONDS = 5
"""Processor time for one input."""

BATCH = 200
LARGEST = 1 << 20

Text = st.SearchStrategy[str]


@dataclass(frozen=True)
class Target:
    """What reads the input, what it may answer with, and how input is made."""

    read: Callable[[Any], object]
    answers: tuple[type[BaseException], ...]
    inputs: st.SearchStrategy[Any]


def pieces(words: str, most: int = 24) -> Text:
    """Texts of these words, and of any others."""
    one = st.one_of(st.sampled_from(words.split()), st.sampled_from([" ", "\n", "\n  ", ""]), st.text(max_size=4))
    return st.lists(one, max_size=most).map("".join)


EXPRESSION = pieces(
    r"""
    a.b a.l a.l[0] a ( ) [ ] { } : , . ? + - * / % == != < in && || ! 'x' "y" r'\d+' b'z' 0 1 -1 1e308 null true x+x
    9223372036854775807 has( size( .map(x, .filter(x, .all(x, .exists(x, .matches( .split( .join( int( string( dyn(
    duration('1h') timestamp('2020-01-01T00:00:00Z') type( .replace( .format( base64.encode( .substring(
    """
)
YAML = pieces(
    r"""
    name: x steps: - action_ref: core.echo core.http parameters: {text: hi} [ ] { } & * ! | > % @ ` ' " # --- ... \x00
    ? !!python/object <<: *a &a {{ }} {{a.b}} type: parallel foreach while approval delay if: items: duration: 1h id:
    trigger: {event: schedule, cron: '*' } version: '1' on_failure: continue retry: {max_attempts: 3}
    """
    + "\ufeff \u2028 \ud7ff"
)
JSON = pieces(
    r"""
    { } [ ] : , "name" "x" "steps" "action_ref" "core.echo" "parameters" "{{a}}" "{{" "}}" "type" "foreach" 1 -0
    1e999 NaN Infinity null true "\u0000" "\ud800" // "a":1,"a":2 [[[[[[[[ {"a":{"a":{"a": 0.1 00 "if"
    """
)
PATTERN = pieces(
    r"""
    a b (a+)+ (a|a)* .* [^a] [a-z \d \w \b ^ $ ( ) (?: (?i) (?=a) \1 {2,5} {999} {1000,} | + * ? \p{L} \x{ [[:alpha:]]
    """
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=20,
)
KEYWORDS = """
    type properties items required enum const pattern minimum maximum minLength maxLength format allOf anyOf oneOf not
    if then else $ref $defs $id additionalProperties patternProperties propertyNames contains minItems uniqueItems
    multipleOf default secret dependentSchemas prefixItems unevaluatedProperties a b
    """.split()  # noqa: SIM905 - to be read
SCHEMA = st.recursive(
    st.one_of(
        st.sampled_from(["string", "object", "array", "#/$defs/a", "#", "http://127.0.0.1/x", "(a+)+$", "date-time"]),
        st.integers(-1, 10**20), st.booleans(), st.none(), st.floats(),
    ),
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=5), st.lists(inner, max_size=3)
    ),
    max_leaves=25,
)  # fmt: skip
FILTER_NAME = pieces(
    "_filter_ _exclude_ cef__ name id severity create_time tags __ __in __regex __range __isnull sort order page", 6
)
FILTER_VALUE = pieces("\" ' [ ] ( ) , \\ 1 2 a True False null 2016-01-15T22:15:55Z (a+)+$ % _ ; -- NaN 1e999", 8)
FILTER = st.lists(st.tuples(FILTER_NAME, FILTER_VALUE), max_size=5)

CATALOGUE = load_catalogue().specs()
NAMES: dict[str, Any] = {"a": {"b": "text" * 10, "l": [1, 2, "x"], "m": {"k": 1.5}}}


def _expression(source: str) -> None:
    evaluate(compile_expression(source, NAMES).tree, NAMES)


def _template(text: str) -> None:
    steps = [{"action_ref": "core.echo", "parameters": {"x": f"{{{{ {text} }}}}", "y": text}}]
    compile_playbook(json.dumps({"name": "x", "steps": steps}).encode("utf-8", "replace"), "json", CATALOGUE)


def _matches(given: tuple[str, str]) -> None:
    names = {"pattern": given[0], "text": given[1] * 1000}
    evaluate(compile_expression("text.matches(pattern)", names).tree, names)


def _schema(given: tuple[Any, Any]) -> None:
    schema, problems = to_schema(given[0])
    if not problems:
        validate_parameters(schema, given[1] if isinstance(given[1], dict) else {"a": given[1]})


def _filter(pairs: list[tuple[str, str]]) -> None:
    from urllib.parse import urlencode

    query = urlencode(pairs, errors="replace").encode()
    request = Request({"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": query})
    found = list_query(request, ARTIFACTS.fields)
    where(ARTIFACTS.fields, found.conditions)


TARGETS = {
    "expression": Target(_expression, (ExpressionError, EvaluationError), EXPRESSION),
    "template": Target(_template, (DefinitionError,), EXPRESSION),
    "yaml": Target(
        lambda text: compile_playbook(text.encode("utf-8", "replace"), "yaml", CATALOGUE), (DefinitionError,), YAML
    ),
    "json": Target(
        lambda text: compile_playbook(text.encode("utf-8", "replace"), "json", CATALOGUE), (DefinitionError,), JSON
    ),
    "bytes": Target(
        lambda data: compile_playbook(data, "yaml", CATALOGUE), (DefinitionError,), st.binary(max_size=200)
    ),
    "regex": Target(_matches, (ExpressionError, EvaluationError), st.tuples(PATTERN, st.text("ab", max_size=20))),
    "schema": Target(_schema, (ParameterErrors, DefinitionError), st.tuples(SCHEMA, VALUES)),
    "filter": Target(_filter, (BadFilter, UnknownField, BadRequest), FILTER),
}


def fuzz(target: Target, seconds: float, most: int | None = None, start: int = 0) -> tuple[int, str | None]:
    """How many inputs the target took in this time, or ``most``; and the one that it failed on, with how it failed.

    ``start`` chooses the first of the inputs, which are the same each time.
    """
    shared = mmap.mmap(-1, LARGEST + 16)
    child = os.fork()
    if child == 0:
        _work(target, seconds, most, start, shared)
    _, status = os.waitpid(child, 0)
    shared.seek(0)
    count = int.from_bytes(shared.read(8), "big")
    size = int.from_bytes(shared.read(8), "big")
    if status == 0:
        return count, None
    how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "an error"
    return count, f"{how}: {shared.read(size).decode('utf-8', 'replace')}"


def _work(target: Target, seconds: float, most: int | None, start: int, shared: mmap.mmap) -> None:
    """Never returns: ends the process with 0, or dies of an input."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    space = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    end, count = time.monotonic() + seconds, 0

    def note(given_input: Any, told: str = "") -> None:
        text = f"{given_input!r}{told}".encode("utf-8", "replace")[:LARGEST]
        shared.seek(0)
        shared.write(count.to_bytes(8, "big") + len(text).to_bytes(8, "big") + text)

    def one(given_input: Any) -> None:
        nonlocal count
        if (most is not None and count >= most) or time.monotonic() > end:
            return
        note(given_input)
        signal.setitimer(signal.ITIMER_PROF, INPUT_SECONDS)
        try:
            target.read(given_input)
        except target.answers:
            pass
        except BaseException as error:
            note(given_input, f" raised {type(error).__name__}: {error}")
            os._exit(1)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        count += 1

    quiet = settings(
        max_examples=BATCH,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    try:
        while time.monotonic() < end and (most is None or count < most):
            seed(start)(quiet(given(target.inputs)(one)))()
            start += 1
    except BaseException as error:  # of the generator: as bad as one of the target
        note("", f"the generator raised {type(error).__name__}: {error}")
        os._exit(1)
    note("")
    os._exit(0)


def main(arguments: list[str]) -> int:
    """Shares the time between the targets."""
    if not arguments or not arguments[0].replace(".", "", 1).isdigit() or set(arguments[1:]) - set(TARGETS):
        print(f"python -m scripts.fuzz SECONDS [{' | '.join(TARGETS)}]…")
        return 2
    names = arguments[1:] or list(TARGETS)
    total, failed = 0, 0
    for name in names:
        count, fault = fuzz(TARGETS[name], float(arguments[0]) / len(names), start=int(time.time()))
        total, failed = total + count, failed + (fault is not None)
        print(f"{name:12} {count:9,} inputs{'' if fault is None else f'   FAILED by {fault}'}", flush=True)
    print(f"{'all':12} {total:9,} inputs, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
