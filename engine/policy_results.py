"""Results of comparisons with policies in the database, as the actions see them (``activities.policies.changes``)."""

from __future__ import annotations

from activities.action import ActionContext
from activities.errors import ActionError
from activities.policies.changes import Comparison
from storage import policy_results
from storage.clock import now_ms
from storage.database import Database
from storage.errors import DatabaseUnavailable
from storage.policy_results import PolicyResultRow


class DatabasePolicyResults:
    """The store of results on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def last(self, context: ActionContext, baseline: str, subject: str) -> Comparison | None:
        """See ``activities.policies.changes.PolicyResultStore``."""
        key = (context.asset_id, baseline, subject, context.execution_id, context.step_id)
        try:
            return _comparison(await self._database.read(policy_results.last, *key))
        except DatabaseUnavailable as error:
            raise _unavailable(error) from None

    async def keep(self, context: ActionContext, new: Comparison) -> Comparison | None:
        """See ``activities.policies.changes.PolicyResultStore``."""
        row = PolicyResultRow(
            asset_id=context.asset_id,
            baseline=new.baseline,
            subject=new.subject,
            execution_id=context.execution_id,
            step=context.step_id,
            at=now_ms(),
            score=new.score,
            digest=new.digest,
            outcomes=dict(new.outcomes),
        )
        try:
            return _comparison(await self._database.write(policy_results.keep, row))
        except DatabaseUnavailable as error:
            raise _unavailable(error) from None


def _comparison(row: PolicyResultRow | None) -> Comparison | None:
    if row is None:
        return None
    return Comparison(
        baseline=row.baseline,
        subject=row.subject,
        score=row.score,
        digest=row.digest,
        outcomes=row.outcomes,
        execution_id=row.execution_id,
        at=row.at,
    )


def _unavailable(error: DatabaseUnavailable) -> ActionError:
    return ActionError("store_unavailable", f"The result cannot be kept or read now: {error.detail}")
