"""``policy.compare``: what is true of a system, held against what a policy asks for."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from activities.action import Action, ActionContext, ActionError, InputModel, OutputModel, Rehearsal
from activities.findings import SEVERITIES, tally
from activities.policies.baseline import NAME, Baseline, Waiver, compiled, shipped
from activities.policies.changes import Changes, Comparison, PolicyResultStore, changes
from activities.policies.judging import (
    Failed,
    Judgement,
    NotApplicable,
    Passed,
    Undecided,
    UnusedWaiver,
    Waived,
    judge,
)
from playbooks.record import Json


class CompareInput(InputModel):
    """The facts, and what they are held against."""

    baseline: Annotated[
        Annotated[str, Field(pattern=NAME)] | Baseline,
        Field(description="The name of a baseline that ships (`ssh-hardening`, `linux-host`), or one of your own."),
    ]
    facts: Annotated[dict[str, Json], Field(description="What is true of the system, such as what `scan.host` tells.")]
    waivers: Annotated[
        list[Waiver],
        Field(max_length=1000, description="Rules that need not pass for a while."),
    ] = Field(default_factory=list)
    subject: Annotated[
        str,
        Field(
            max_length=300,
            description="What the facts are about, where that is not the asset itself: one of several hosts of it. "
            "Results are compared with earlier ones of the same subject.",
        ),
    ] = ""


class CompareOutput(OutputModel):
    """What passed and what did not."""

    baseline: Annotated[str, Field(description="Name of the baseline.")]
    version: Annotated[str, Field(description="Its version.")]
    compliant: Annotated[
        bool, Field(description="Whether a rule applies, none failed, and every one that applies was decided.")
    ]
    score: Annotated[
        float | None,
        Field(
            description="Percent, rounded down to a tenth: the weight of the rules that passed, of those that passed, "
            "failed or could not be decided. Weights: critical 10, high 7, medium 4, low 1, none 0. null: none counts."
        ),
    ]
    summary: Annotated[str, Field(description="The result in a sentence.")]
    passed: list[Passed]
    failed: Annotated[list[Failed], Field(description="Worst first.")]
    waived: Annotated[list[Waived], Field(description="Rules that did not pass and need not; they do not count.")]
    errors: Annotated[
        list[Undecided], Field(description="Rules that could not be decided, as when a fact is missing: no pass.")
    ]
    not_applicable: list[NotApplicable]
    unused_waivers: Annotated[list[UnusedWaiver], Field(description="Waivers without effect, and why.")]
    severities: Annotated[dict[str, int], Field(description="How many failed rules there are of each severity.")]
    changes: Annotated[
        Changes | None, Field(description="Since the last run of this asset and baseline; null: there was none.")
    ]


class PolicyCompare(Action[CompareInput, CompareOutput]):
    """Holds facts against a baseline of rules, and tells what has changed since the last time.

    Each rule is an expression of CEL over `facts`. A rule that asks for a fact that is not there is undecided, which is
    no pass. The result is kept for the next comparison, the last 50 of each asset and baseline.
    """

    name = "policy.compare"
    title = "Compare with a policy"
    rehearsal = "Compares, also with the last result, and keeps nothing."
    Input = CompareInput
    Output = CompareOutput
    idempotent = True
    errors: ClassVar[Mapping[str, str]] = {
        "unknown_baseline": "No baseline of this name ships; the message has those that do.",
        "invalid_baseline": "A rule does not compile; the message has the rule, line and column.",
        "no_store": "The worker keeps no results.",
        "store_unavailable": "The database cannot be reached; worth a retry.",
    }
    example: ClassVar[Mapping[str, Json]] = {
        "baseline": {
            "name": "web-servers",
            "rules": [
                {
                    "name": "no-root-login",
                    "title": "Root does not log in over SSH",
                    "expression": "facts.ssh.permitrootlogin == 'no'",
                    "when": "has(facts.ssh)",
                    "severity": "high",
                    "remediation": "Set PermitRootLogin to no in sshd_config.",
                }
            ],
        },
        "facts": "{{ steps.scan.output.facts }}",
        "waivers": [
            {"rule": "no-root-login", "reason": "Until the jump host is there", "by": "carol", "until": "2026-12-31"}
        ],
    }

    async def run(self, inputs: CompareInput, context: ActionContext) -> CompareOutput:
        """Compare, and keep the result.  Raises ``ActionError`` with the codes in ``errors``."""
        store = context.stores.policy_results
        if store is None:
            raise ActionError("no_store", "This worker keeps no results of comparisons.", retryable=False)
        baseline, judgement = await _judged(inputs, context)
        now = _comparison(inputs, baseline, judgement, context)
        return _output(baseline, judgement, now, await store.keep(context, now))

    async def rehearse(self, inputs: CompareInput, context: ActionContext) -> Rehearsal:
        """Compare; look up the last result where that is allowed."""
        baseline, judgement = await _judged(inputs, context)
        now = _comparison(inputs, baseline, judgement, context)
        before = None
        if context.dry_run_reads and context.stores.policy_results is not None:
            before = await _last(context.stores.policy_results, context, now)
        output = _output(baseline, judgement, now, before)
        effect: dict[str, Json] = {"kind": "policy_result", "baseline": baseline.name, "score": output.score}
        would = f"Would keep the result for the next comparison with {baseline.name}: {output.summary}"
        return Rehearsal(would, [effect], output)


async def _last(store: PolicyResultStore, context: ActionContext, now: Comparison) -> Comparison | None:
    try:
        return await store.last(context, now.baseline, now.subject)
    except ActionError:
        return None  # a rehearsal answers also when it cannot look


async def _judged(inputs: CompareInput, context: ActionContext) -> tuple[Baseline, Judgement]:
    baseline = inputs.baseline if isinstance(inputs.baseline, Baseline) else shipped(inputs.baseline)
    # Before they are judged: what is told of a fact is cut, and half a secret could not be found any more.
    facts: dict[str, Json] = context.scrub(inputs.facts)
    today = datetime.datetime.fromtimestamp(time.time(), datetime.UTC).date()
    # Some seconds of work for the largest baseline, in which heartbeats and other steps must go on.
    return baseline, await asyncio.to_thread(lambda: judge(compiled(baseline), facts, inputs.waivers, today))


def _comparison(inputs: CompareInput, baseline: Baseline, judgement: Judgement, context: ActionContext) -> Comparison:
    return Comparison(
        baseline=str(context.scrub(baseline.name)),
        subject=str(context.scrub(inputs.subject)),
        score=judgement.score(),
        digest=baseline.digest(),
        outcomes=context.scrub(judgement.outcomes()),
    )


def _output(baseline: Baseline, found: Judgement, now: Comparison, before: Comparison | None) -> CompareOutput:
    return CompareOutput(
        baseline=baseline.name,
        version=baseline.version,
        compliant=bool(found.passed or found.waived) and not found.failed and not found.errors,
        score=now.score,
        summary=_summary(found),
        passed=found.passed,
        failed=sorted(found.failed, key=lambda rule: -SEVERITIES.index(rule.severity)),
        waived=found.waived,
        errors=found.errors,
        not_applicable=found.not_applicable,
        unused_waivers=found.unused_waivers,
        severities=tally(rule.severity for rule in found.failed),
        changes=None if before is None else changes(before, now),
    )


def _summary(found: Judgement) -> str:
    judged = len(found.passed) + len(found.failed) + len(found.errors) + len(found.waived)
    parts = [f"{len(found.failed)} of {judged} rules failed"]
    if found.errors:
        parts.append(f"{len(found.errors)} could not be decided")
    if found.waived:
        parts.append(f"{len(found.waived)} {'is' if len(found.waived) == 1 else 'are'} waived")
    if found.not_applicable:
        verb = "does" if len(found.not_applicable) == 1 else "do"
        parts.append(f"{len(found.not_applicable)} {verb} not apply")
    return ", ".join(parts) + "."
