"""Refuses what replays differently: clock, randomness, I/O, environment and set order in workflows/ and playbooks/.

Temporal replays a workflow's history through this code (Temporal docs: *Workflow definition, deterministic
constraints*).  Prints each offence with its place; exit code 1 when there is one.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("workflows", "playbooks")
MODULES = {
    "io",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "secrets",
    "shutil",
    "socket",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "urllib",
    "uuid",
}
CALLS = {"open", "input", "print", "exec", "eval", "hash", "globals", "breakpoint"}
METHODS = {"now", "utcnow", "today", "uuid4", "getenv", "urandom"}
REPEATABLE_METHODS = {"workflow.now", "workflow.uuid4"}
ORDERING = {"sorted", "len", "min", "max", "sum", "any", "all", "frozenset", "set"}


def offences(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and description of each offence in ``tree``."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (
                    (node.lineno, f"import of {name.name}") for name in names if name.name.split(".")[0] in MODULES
                )
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in MODULES:
                yield node.lineno, f"import from {module}"
            case ast.Call(func=ast.Name(id=name)) if name in CALLS:
                yield node.lineno, f"call of {name}()"
            case ast.Call(func=ast.Attribute(attr=name)) if (
                name in METHODS and ast.unparse(node.func) not in REPEATABLE_METHODS
            ):
                yield node.lineno, f"call of {ast.unparse(node.func)}()"
            case ast.For(iter=source) | ast.AsyncFor(iter=source) | ast.comprehension(iter=source) if _is_set(source):
                yield source.lineno, "iteration over a set, whose order differs from process to process"
            case ast.Call(func=ast.Name(id="list" | "tuple" | "enumerate"), args=[source, *_]) if _is_set(source):
                yield source.lineno, "a set made into a sequence, whose order differs from process to process"
            case _:
                pass


def _is_set(node: ast.expr) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub(), right=right):
            return _is_set(left) or _is_set(right)
        case _:
            return False


def main(folders: list[str]) -> int:
    """Checks the folders; returns the exit code."""
    found = [
        f"{path}:{line}: {text}"
        for folder in folders
        for path in sorted(Path(folder).rglob("*.py"))
        for line, text in offences(ast.parse(path.read_text()))
    ]
    print("\n".join(found) or f"deterministic: {', '.join(folders)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(FOLDERS)))
