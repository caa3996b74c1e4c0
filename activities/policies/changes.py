"""What has changed since the last comparison of the same asset with the same baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import Field

from activities.action import ActionContext, OutputModel

BAD = frozenset({"failed", "error"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A comparison as it is kept; ``subject`` is empty for the asset itself, ``at`` in ms since the epoch."""

    baseline: str
    subject: str
    score: float | None
    digest: str
    outcomes: Mapping[str, str]
    execution_id: str = ""
    at: int = 0


class PolicyResultStore(Protocol):
    """Keeps comparisons; every method may raise ``ActionError`` with code ``store_unavailable``, worth a retry."""

    async def last(self, context: ActionContext, baseline: str, subject: str) -> Comparison | None:
        """The last comparison of the asset before that of this step of this run; None when there is none."""
        ...

    async def keep(self, context: ActionContext, new: Comparison) -> Comparison | None:
        """Keep the comparison of this step, in the place of what the same step has kept; answers as ``last`` does."""
        ...


class OtherChange(OutputModel):
    """A rule that has changed in another way than from good to bad or back."""

    name: str
    before: str
    after: str


class Changes(OutputModel):
    """What has changed."""

    execution_id: Annotated[str, Field(description="The run that is compared with.")]
    at: Annotated[str, Field(description="When that was, in RFC 3339.")]
    score: Annotated[float | None, Field(description="Its score.")]
    score_change: Annotated[float | None, Field(description="By how much the score is higher now.")]
    newly_failed: Annotated[list[str], Field(description="Rules that fail, or are undecided, and did not before.")]
    fixed: Annotated[list[str], Field(description="Rules that failed, or were undecided, and pass now.")]
    other: Annotated[list[OtherChange], Field(description="Rules with any other new outcome.")]
    added: Annotated[list[str], Field(description="Rules that the baseline did not have.")]
    removed: Annotated[list[str], Field(description="Rules that the baseline has no more.")]
    baseline_changed: Annotated[bool, Field(description="Whether the rules themselves are others.")]


def changes(before: Comparison, now: Comparison) -> Changes:
    """What has changed from ``before`` to ``now``."""
    from playbooks.times import format_timestamp, timestamp

    same = [name for name in now.outcomes if name in before.outcomes]
    pairs = {name: (before.outcomes[name], now.outcomes[name]) for name in same}
    worse = [name for name, (old, new) in pairs.items() if new in BAD and old not in BAD]
    better = [name for name, (old, new) in pairs.items() if old in BAD and new == "passed"]
    other = [name for name, (old, new) in pairs.items() if old != new and name not in {*worse, *better}]
    scores = (before.score, now.score)
    return Changes(
        execution_id=before.execution_id,
        at=format_timestamp(timestamp(before.at * 1_000_000)),
        score=before.score,
        score_change=None if None in scores else round((now.score or 0) - (before.score or 0), 1),
        newly_failed=worse,
        fixed=better,
        other=[OtherChange(name=name, before=pairs[name][0], after=pairs[name][1]) for name in other],
        added=[name for name in now.outcomes if name not in before.outcomes],
        removed=[name for name in before.outcomes if name not in now.outcomes],
        baseline_changed=before.digest != now.digest,
    )
