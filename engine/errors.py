"""What can go wrong between us and Temporal."""

from __future__ import annotations


class TemporalUnavailable(Exception):
    """Temporal cannot be reached.  ``sent``: a request may have been taken, and only its answer was lost."""

    def __init__(self, message: str, *, sent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent


class AlreadyRunning(Exception):
    """The workflow id is taken by a running workflow: this playbook runs on this asset already."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"already running as {run_id}")
        self.run_id = run_id


class StartRefused(Exception):
    """Temporal refused a start for what stands in it (too large, for instance); nothing was started."""


class DecisionRefused(Exception):
    """A run did not take a decision; ``kind`` is ``not_waiting``, ``ambiguous``, ``decided`` or ``forbidden``."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class NoAnswer(Exception):
    """No worker has answered in time; what was asked for may still happen."""


class AddressUnusable(Exception):
    """An address of the settings cannot be listened on; the message is a sentence for the operator."""


class TemporalUnreachable(RuntimeError):
    """Temporal cannot be connected to; the message is a sentence for the operator."""
