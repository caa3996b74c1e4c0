"""What actions keep and look up beyond a run, as they see it; ``worker.py`` hands them what ``storage/`` makes of it.

Actions import nothing of ``storage/`` (DESIGN.md §1): each store is a protocol here, with a field in ``Stores``.
"""

from __future__ import annotations

from dataclasses import dataclass

from activities.artifacts import ArtifactStore


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores of this worker; None where it has none, as in a test of one action."""

    artifacts: ArtifactStore | None = None
