"""What a JSON object holds under a key, as text, on both databases; keys reach SQL as parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Text, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

_KEY: Final = re.compile(r"""[^"\\\x00-\x1f]{1,200}""")


class Inside(FunctionElement[str]):
    """The value at a path of JSON text: a string as it is, anything else as JSON; NULL where there is none."""

    type = Text()
    inherit_cache = True


def inside(column: ColumnElement[Any], keys: Sequence[str]) -> ColumnElement[str]:
    """What stands in the object of ``column`` under these keys, one inside of the other.

    A key that could not be written into a path is never found.
    """
    if not all(_KEY.fullmatch(key) for key in keys):
        return literal(None, Text())
    path = "$" + "".join(f'."{key}"' for key in keys)
    return Inside(column, literal(path, Text()))


@compiles(Inside, "sqlite")
def _on_sqlite(element: Inside, compiler: SQLCompiler, **options: Any) -> str:
    text, path = (compiler.process(clause, **options) for clause in element.clauses)
    # json_extract would tell true as 1.
    return (
        f"CASE json_type({text}, {path}) WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' "
        f"ELSE CAST(json_extract({text}, {path}) AS TEXT) END"
    )


@compiles(Inside, "postgresql")
def _on_postgres(element: Inside, compiler: SQLCompiler, **options: Any) -> str:
    text, path = (compiler.process(clause, **options) for clause in element.clauses)
    return f"(jsonb_path_query_first(CAST({text} AS jsonb), CAST({path} AS jsonpath)) #>> '{{}}')"
