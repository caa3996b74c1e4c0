"""Starting a run: the row first, then Temporal, and 202 only when Temporal has taken it (DESIGN.md §2).

What dies in between leaves a row that Temporal knows nothing of; reading it, or the sweep, settles it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection
from structlog.contextvars import bind_contextvars
from temporalio.client import Client

from engine.errors import StartRefused, TemporalUnavailable
from engine.metrics import ExecutionMetrics
from engine.runs import INPUT_LIMIT, Runs, Start
from executions.admission import Admission
from executions.claiming import Claimer, Overtaken, Taken
from executions.errors import (
    Conflict,
    IdempotencyMismatch,
    NotFound,
    ParametersInvalid,
    TooLarge,
    Unavailable,
    from_faults,
)
from executions.pinning import Pinner
from executions.requests import RerunRequest, RunRequest, key_of
from executions.rerunning import FROM_FAILED, Earlier, kept
from executions.revisions import Revision, Revisions
from executions.truth import Reader, Truth, Unsettled
from playbooks.contract import TURNS, RunInput, Snapshot, workflow_id
from playbooks.parameters import ParameterErrors
from playbooks.plan import Plan
from playbooks.progress import decode_step, first_steps
from playbooks.record import Json, RunRecord
from storage import assets, audit, executions, playbooks, settlement
from storage.assets import AssetRow
from storage.audit import NewAudit
from storage.clock import now_ms
from storage.database import Database
from storage.executions import ExecutionRow, IdempotencyKey, Inserted, NewExecution, Repeated
from storage.playbooks import PlaybookRow

FORGOTTEN_MS = 60_000
"""A start is taken back within seconds: a key that is older than this and names no execution has outlived it."""


@dataclass(frozen=True, slots=True)
class Starter:
    """Starts runs.  Raises the errors of API.md's table, in its order: 404 playbook, 404 asset, 422, 409, 503."""

    database: Database
    runs: Runs
    revisions: Revisions
    reader: Reader
    pinner: Pinner
    claimer: Claimer
    admission: Admission = field(default_factory=Admission)

    @classmethod
    def build(
        cls,
        database: Database,
        temporal: Client,
        task_queue: str,
        admission: Admission | None = None,
        metrics: ExecutionMetrics | None = None,
    ) -> Starter:
        """A starter of runs on this task queue, which come in by ``admission``."""
        runs = Runs(temporal, task_queue)
        reader = Reader(database, runs, Revisions(database), metrics or ExecutionMetrics())
        pinner = Pinner(database, reader.revisions)
        claimer = Claimer(database, runs)
        return cls(database, runs, reader.revisions, reader, pinner, claimer, admission or Admission())

    async def start(self, playbook_id: str, request: RunRequest, entry: NewAudit) -> Truth:
        """Starts a run and returns it, ``pending``; with a known idempotency key, the run that it began.

        ``entry`` goes into the audit trail with the row, as requested: what refuses the run is noted after it.
        Raises Overloaded where too many starts wait already.
        """
        async with self.admission.place():
            return await self._start(playbook_id, request, entry)

    async def _start(self, playbook_id: str, request: RunRequest, entry: NewAudit) -> Truth:
        playbook, asset, earlier = await self.database.read(_find, playbook_id, request)
        if playbook is None:
            raise NotFound(f"There is no playbook {playbook_id!r}.")
        if earlier is not None:
            return await self._repeated(playbook, request, earlier)
        if asset is None:
            raise NotFound(f"There is no asset {request.target_asset_id!r}.")
        revision = await self.revisions.get(playbook.id, playbook.revision)
        parameters = validated(revision, request.parameters)
        new = NewExecution(
            id=f"exec-{uuid.uuid4()}",
            created_at=now_ms(),
            created_by=request.principal_id,
            playbook_id=playbook.id,
            revision=playbook.revision,
            asset_id=asset.id,
            asset=_snapshot(asset),
            parameters=parameters,
            dry_run=request.dry_run,
            dry_run_reads=request.dry_run_reads,
            workflow_id=workflow_id(playbook.id, asset.id),
            source=request.source,
            pinned=await self.pins(revision, playbook.id),
        )
        return await self._insert_and_begin(playbook, revision, new, request, entry)

    async def rerun(self, row: ExecutionRow, request: RerunRequest, entry: NewAudit) -> Truth:
        """Starts a run with the input and the revision of ``row``, whose run must have closed; like ``start``.

        Raises Conflict while that run has not closed.
        """
        async with self.admission.place():
            return await self._rerun(row, request, entry)

    async def _rerun(self, row: ExecutionRow, request: RerunRequest, entry: NewAudit) -> Truth:
        playbook = await self.database.read(playbooks.get, row.playbook_id)
        if playbook is None:
            raise NotFound("The playbook of this execution was deleted.")
        earlier = await self.database.read(_same_request, playbook, request)
        if earlier is not None:
            return await self._repeated(playbook, request, earlier)
        if row.closed_at is None:
            await self.reader.read(row)
            fresh = await self.database.read(executions.get, row.id)
            row = fresh or row
        if row.closed_at is None:
            raise Conflict("The execution has not ended.", execution_id=row.id)
        revision = await self.revisions.get(row.playbook_id, row.revision)
        new = NewExecution(
            id=f"exec-{uuid.uuid4()}",
            created_at=now_ms(),
            created_by=request.principal_id,
            playbook_id=row.playbook_id,
            revision=row.revision,
            asset_id=row.asset_id,
            asset=row.asset,
            parameters=row.parameters,
            dry_run=row.dry_run,
            dry_run_reads=row.dry_run_reads,
            workflow_id=workflow_id(row.playbook_id, row.asset_id),
            rerun_of=row.id,
            rerun_from=request.origin,
            context=row.context,
            pinned=await self.pins(revision, row.playbook_id, await self.database.read(_pins_of, row)),
        )
        return await self._insert_and_begin(playbook, revision, new, request, entry)

    async def _insert_and_begin(
        self,
        playbook: PlaybookRow,
        revision: Revision,
        new: NewExecution,
        request: RunRequest | RerunRequest,
        entry: NewAudit,
    ) -> Truth:
        key = key_of(request, playbook.id)
        inserted = await self.database.write(_insert, new, key, entry)
        if isinstance(inserted, Repeated):
            return await self._repeated(playbook, request, inserted)
        return await self.begin(playbook, revision, new)

    async def pins(
        self, revision: Revision, playbook_id: str, earlier: Mapping[str, int] | None = None
    ) -> dict[str, int] | None:
        """The revisions of the sub-playbooks that a run is about to be pinned to: as in an ``earlier`` run, or as now.

        Raises Conflict for those that cannot be started.
        """
        found = await self.pinner.pinned(revision.plan, playbook_id, earlier)
        return {key: one.revision for key, one in found.items()} or None

    async def _input(self, revision: Revision, new: NewExecution | ExecutionRow) -> RunInput:
        try:
            pinned = await self.pinner.pinned(revision.plan, new.playbook_id, new.pinned)
        except Conflict:
            await self.database.write(executions.discard, new.id)
            raise
        return RunInput(
            execution_id=new.id,
            playbook_id=new.playbook_id,
            revision=new.revision,
            plan=revision.plan,
            parameters=new.parameters,
            asset=new.asset,
            dry_run=new.dry_run,
            dry_run_reads=new.dry_run_reads,
            playbooks=pinned,
            context=new.context or {},
            turns=TURNS,
            resume=await self._kept(revision, new) if new.rerun_from == FROM_FAILED else None,
        )

    async def _kept(self, revision: Revision, new: NewExecution | ExecutionRow) -> Snapshot:
        """What a rerun keeps of the run that it repeats."""
        assert new.rerun_of is not None
        earlier = await self.database.read(_earlier, new.rerun_of, revision.plan)
        return kept(earlier)

    async def begin(self, playbook: PlaybookRow, revision: Revision, new: NewExecution | ExecutionRow) -> Truth:
        """Has Temporal start the run whose row is written; takes the row back where it does not."""
        bind_contextvars(execution_id=new.id, playbook_id=new.playbook_id, asset_id=new.asset_id)
        given = await self._input(revision, new)
        start = Start(
            workflow_id=new.workflow_id,
            workflow_type=playbook.slug,
            given=given,
            plan_json=revision.plan_json,
            summary=f"{playbook.name} on {new.asset['name']}" + (" (dry run)" if new.dry_run else ""),
            details=_details(playbook, new),
        )
        try:
            run_id = await self.claimer.claim(start)
        except Taken as error:
            await self.database.write(executions.discard, new.id)
            text = f"The playbook {playbook.slug} is already running for this asset."
            raise Conflict(text, execution_id=error.execution_id) from error
        except Overtaken as error:
            if error.row is None:
                raise _taken_back() from error
            return replace(await self.reader.read(error.row), repeated=True)
        except StartRefused as error:
            await self.database.write(executions.discard, new.id)
            raise TooLarge(INPUT_LIMIT) from error
        except TemporalUnavailable as error:
            raise await self._withdrawn(new, revision, error) from error
        self.reader.metrics.started(new.source)
        return _pending(new, revision, given, run_id)

    async def _withdrawn(
        self, new: NewExecution | ExecutionRow, revision: Revision, error: TemporalUnavailable
    ) -> Unavailable:
        """Nothing may come of a start that is answered with 503, as this says.

        Where Temporal may have taken it, the row stays, cancelled, and the sweep ends the run should it turn up. But
        with an idempotency key it stays as it is: the request that comes again with the key finds the run that has
        turned up, or starts it, and it is one run either way.
        """
        if not error.sent:
            await self.database.write(executions.discard, new.id)
            return Unavailable("temporal", str(error))
        if await self.database.read(executions.has_key, new.id):
            so_far = "the run may begin all the same: repeat the request with its Idempotency-Key"
            return Unavailable("temporal", str(error), so_far=so_far)
        await self.database.write(
            settlement.freeze_cancelled,
            new.id,
            record=[["x"] for _ in revision.steps],
            at=now_ms(),
            by="stanchion",
            reason="Temporal did not confirm the start in time",
            started_at=None,
            finished_at=now_ms(),
        )
        return Unavailable("temporal", str(error), so_far="a run that has begun all the same is cancelled")

    async def _repeated(self, playbook: PlaybookRow, request: RunRequest | RerunRequest, first: Repeated) -> Truth:
        """The same key again: the first run, or the start that it was meant to be, should that have been lost."""
        if first.body_hash != request.fingerprint(playbook.id):
            raise IdempotencyMismatch("This Idempotency-Key was used with another playbook or body.")
        row = await self.database.read(executions.get, first.execution_id)
        if row is None and now_ms() - first.created_at > FORGOTTEN_MS:
            raise IdempotencyMismatch("This Idempotency-Key began an execution that was deleted since, being old.")
        if row is None:
            raise _taken_back()
        revision = await self.revisions.get(row.playbook_id, row.revision)
        if row.state is None and await self._is_unknown(row):
            return await self.begin(playbook, revision, row)
        try:
            return replace(await self.reader.read(row), repeated=True)
        except Unsettled as error:
            raise _taken_back() from error

    async def _is_unknown(self, row: ExecutionRow) -> bool:
        try:
            return await self.runs.describe_execution(row.workflow_id, row.id) is None
        except TemporalUnavailable as error:
            raise Unavailable("temporal", str(error)) from error


def _taken_back() -> Unavailable:
    return Unavailable("temporal", "the first request with this key is being taken back; try again")


def _find(
    connection: Connection, playbook_id: str, request: RunRequest
) -> tuple[PlaybookRow | None, AssetRow | None, Repeated | None]:
    playbook = playbooks.get(connection, playbook_id)
    earlier = None if playbook is None else _same_request(connection, playbook, request)
    return playbook, assets.get(connection, request.target_asset_id), earlier


def _same_request(connection: Connection, playbook: PlaybookRow, request: RunRequest | RerunRequest) -> Repeated | None:
    """What this very request began before: it counts whatever has become of asset and parameters since."""
    key = key_of(request, playbook.id)
    earlier = None if key is None else executions.find_key(connection, key)
    return earlier if key is not None and earlier is not None and earlier.body_hash == key.body_hash else None


def _insert(
    connection: Connection, new: NewExecution, key: IdempotencyKey | None, entry: NewAudit
) -> Inserted | Repeated:
    if not playbooks.hold(connection, new.playbook_id):
        raise NotFound(f"There is no playbook {new.playbook_id!r}: it was deleted a moment ago.")
    inserted = executions.insert(connection, new, key)
    if isinstance(inserted, Inserted):
        details = {"playbook_id": new.playbook_id, "target_asset_id": new.asset_id, "dry_run": new.dry_run}
        audit.append(connection, replace(entry, object_id=new.id, details=details))
    return inserted


def validated(revision: Revision, values: dict[str, Json]) -> dict[str, Json]:
    """The parameters with their defaults; raises ParametersInvalid."""
    try:
        return revision.parameters.validate(values)
    except ParameterErrors as error:
        raise ParametersInvalid(
            "The parameters do not fit the playbook's schema.", from_faults(error.faults, "/parameters")
        ) from error


def _snapshot(asset: AssetRow) -> dict[str, Json]:
    return {
        "id": asset.id,
        "name": asset.name,
        "type": asset.type,
        "hostname": asset.hostname,
        "ip": asset.ip,
        "url": asset.url,
        "tags": asset.tags,
        "attributes": asset.attributes,
    }


def _details(playbook: PlaybookRow, new: NewExecution | ExecutionRow) -> str:
    return (
        f"Playbook **{playbook.name}** (`{playbook.id}`, revision {new.revision}) "
        f"on asset **{new.asset['name']}** (`{new.asset_id}`).\n\n"
        f"Execution `{new.id}`" + (", a rehearsal: nothing is changed." if new.dry_run else ".")
    )


def _pending(new: NewExecution | ExecutionRow, revision: Revision, given: RunInput, run_id: str) -> Truth:
    row = new if isinstance(new, ExecutionRow) else _fresh(new)
    return Truth(row, revision, RunRecord(first_steps(given)), run_id, first_run_id=run_id)


def _earlier(connection: Connection, execution_id: str, plan: Plan) -> Earlier:
    row = executions.get(connection, execution_id)
    return Earlier(
        plan=plan,
        steps=[decode_step(step) for step in (row.record if row else None) or []],
        io=executions.get_io(connection, execution_id),
        iterations=executions.get_iterations(connection, execution_id),
        variables=executions.get_vars(connection, execution_id),
    )


def _pins_of(connection: Connection, row: ExecutionRow) -> dict[str, int] | None:
    """What a run was pinned to; a run that a parent started, with its parent."""
    current: ExecutionRow | None = row
    while current is not None and current.pinned is None and current.parent_id is not None:
        current = executions.get(connection, current.parent_id)
    return current.pinned if current is not None else None


def _fresh(new: NewExecution) -> ExecutionRow:
    """The row as it stands right after ``new`` was written."""
    return ExecutionRow(
        id=new.id,
        number=0,
        created_at=new.created_at,
        created_by=new.created_by,
        source=new.source,
        playbook_id=new.playbook_id,
        revision=new.revision,
        asset_id=new.asset_id,
        dry_run=new.dry_run,
        dry_run_reads=new.dry_run_reads,
        workflow_id=new.workflow_id,
        workflow_run_id=None,
        state=None,
        started_at=None,
        finished_at=None,
        error=None,
        record=None,
        cancelled_at=None,
        cancelled_by=None,
        cancel_reason=None,
        closed_at=None,
        asset=new.asset,
        parameters=new.parameters,
        outputs=None,
        context=new.context,
        pinned=new.pinned,
        parent_id=new.parent_id,
        parent_step=new.parent_step,
        rerun_of=new.rerun_of,
        rerun_from=new.rerun_from,
    )
