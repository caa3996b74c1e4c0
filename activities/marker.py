"""A mark by which a repeat of a step recognises what the step has done already."""

from __future__ import annotations

import hashlib

from activities.action import ActionContext

PREFIX = "stanchion"


def marker(context: ActionContext, key: str | None = None) -> str:
    """The mark of ``key``, or of this step of this run when there is none.

    The step's id has the numbers of the iterations in it, so each iteration of a loop has a mark of its own; an
    attempt that repeats has the same.  Letters and digits only: every search index takes it as one word.
    """
    parts = ("key", key) if key is not None else ("step", context.execution_id, context.step_id)
    return PREFIX + hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:32]
