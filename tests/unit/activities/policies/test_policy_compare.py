"""``policy.compare``: every outcome of a rule, the score, waivers, and what has changed since the last run."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from activities.action import ActionContext, ActionError
from activities.findings import SEVERITIES
from activities.policies import baseline as baselines
from activities.policies.baseline import Baseline, Rule, compiled, shipped, shipped_names
from activities.policies.compare import CompareInput, CompareOutput, PolicyCompare
from activities.policies.judging import WEIGHTS, judge
from activities.reports.action import ReportInput, ReportOutput, ReportRender
from activities.stores import Stores
from engine.policy_results import DatabasePolicyResults
from storage import policy_results
from storage.database import Database
from tests.unit.activities.action_support import make_context

FACTS: dict[str, Any] = {
    "ssh": {"permitrootlogin": "yes", "port": 22},
    "packages": {"openssl": "3.0.1"},
    "users": ["root", "carol"],
}
RULES: dict[str, dict[str, Any]] = {
    "port": {"expression": "facts.ssh.port == 22", "severity": "low"},
    "root": {
        "expression": "facts.ssh.permitrootlogin == 'no'",
        "severity": "high",
        "title": "Root stays out",
        "remediation": "Set PermitRootLogin to no.",
    },
    "firewall": {"expression": "facts.firewall.active", "severity": "medium"},
    "windows": {"expression": "false", "when": "has(facts.registry)"},
}
TODAY = datetime.datetime.now(datetime.UTC).date()  # noqa: TID251
FOREVER = "2999-12-31"


def policy(rules: dict[str, dict[str, Any]] = RULES, name: str = "own", **more: Any) -> dict[str, Any]:
    """A baseline of ``rules``."""
    return {"name": name, "rules": [{"name": key, **rule} for key, rule in rules.items()], **more}


def waiver(rule: str, until: str = FOREVER) -> dict[str, str]:
    return {"rule": rule, "reason": "It is known.", "by": "carol", "until": until}


@pytest.fixture
def context(database: Database) -> ActionContext:
    """A context with the store of a worker."""
    return make_context(stores=Stores(policy_results=DatabasePolicyResults(database)))


def run_of(context: ActionContext, execution: str, step: str = "act-001") -> ActionContext:
    return dataclasses.replace(context, execution_id=execution, step_id=step)


async def compare(context: ActionContext, baseline: Any = None, **more: Any) -> CompareOutput:
    given_here = {"baseline": baseline or policy(), "facts": FACTS, **more}
    return await PolicyCompare().run(CompareInput.model_validate(given_here), context)


async def rehearsed(context: ActionContext, **more: Any) -> CompareOutput:
    inputs = CompareInput.model_validate({"baseline": policy(), "facts": FACTS, **more})
    rehearsal = await PolicyCompare().rehearse(inputs, context)
    assert isinstance(rehearsal.output, CompareOutput)
    assert rehearsal.effects[0]["kind"] == "policy_result"
    return rehearsal.output


async def refused(context: ActionContext, baseline: Any) -> ActionError:
    with pytest.raises(ActionError) as caught:
        await compare(context, baseline)
    assert not caught.value.retryable
    return caught.value


async def test_every_outcome(context: ActionContext) -> None:
    """Passed, failed with what the facts are, undecided with what is missing, not applicable."""
    output = await compare(context)
    assert [rule.name for rule in output.passed] == ["port"]
    (failed,) = output.failed
    assert (failed.name, failed.title, failed.severity) == ("root", "Root stays out", "high")
    assert (failed.detail, failed.remediation) == ('ssh.permitrootlogin: "yes"', "Set PermitRootLogin to no.")
    (undecided,) = output.errors
    assert (undecided.name, undecided.missing) == ("firewall", ["firewall.active"])
    assert undecided.message == "The facts do not have firewall.active."
    assert [rule.name for rule in output.not_applicable] == ["windows"]
    assert (output.compliant, output.changes) == (False, None)
    assert output.summary == "1 of 3 rules failed, 1 could not be decided, 1 does not apply."
    assert output.severities == {"none": 0, "low": 0, "medium": 0, "high": 1, "critical": 0}
    assert output.score == 8.3  # low 1 of low 1, high 7 and medium 4


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"expression": "facts.ssh"}, "its expression is neither true nor false"),
        ({"expression": "true", "when": "facts.ssh.port"}, "its when is neither true nor false"),
        ({"expression": "true", "when": "facts.other == 1"}, "The facts do not have other."),
        ({"expression": "facts.ssh.port.deep == 1"}, "The facts do not have ssh.port.deep."),
        ({"expression": "facts.users.all(user, user.locked)"}, "no such key: locked (a string has no fields)"),
        ({"expression": "facts.ssh.port < 'a'"}, "no such overload"),
        ({"expression": "facts.many.all(a, facts.many.all(b, a != b || a == b))"}, "too many steps"),
    ],
)
async def test_what_cannot_be_decided_is_no_pass(context: ActionContext, rule: dict[str, Any], message: str) -> None:
    """Whatever the reason; the rules beside it are judged all the same."""
    rules = {"bad": rule, "good": {"expression": "true"}}
    output = await compare(context, policy(rules), facts={**FACTS, "many": list(range(1000))})
    assert message in output.errors[0].message
    assert ([rule.name for rule in output.passed], output.compliant) == (["good"], False)


async def test_a_rule_may_say_what_a_missing_fact_means(context: ActionContext) -> None:
    """By ``has``, or by the other side of an ``or``."""
    rules = {
        "has": {"expression": "!has(facts.telnet)"},
        "or": {"expression": "facts.telnet == 1 || facts.ssh.port == 22"},
    }
    assert (await compare(context, policy(rules))).compliant


async def test_nothing_judged_is_not_compliant(context: ActionContext) -> None:
    """Nor has it a score."""
    output = await compare(context, policy({"windows": RULES["windows"]}))
    assert (output.compliant, output.score) == (False, None)


async def test_waivers(context: ActionContext) -> None:
    """One that counts takes the rule out of the score; the others are told with the reason why they do not."""
    yesterday = (TODAY - datetime.timedelta(days=1)).isoformat()
    given_here = [
        waiver("root", yesterday),
        waiver("root", TODAY.isoformat()),
        waiver("firewall"),
        waiver("port"),
        waiver("other"),
        waiver("windows"),
    ]
    output = await compare(context, waivers=given_here)
    assert [(one.name, one.was, one.by, one.until) for one in output.waived] == [
        ("root", "failed", "carol", TODAY.isoformat()),
        ("firewall", "error", "carol", FOREVER),
    ]
    assert (output.compliant, output.score, output.failed, output.errors) == (True, 100.0, [], [])
    assert [(one.rule, one.why) for one in output.unused_waivers] == [
        ("root", f"expired on {yesterday}"),
        ("port", "passed"),
        ("other", "no such rule"),
        ("windows", "not applicable"),
    ]


async def test_an_expired_waiver_waives_nothing(context: ActionContext) -> None:
    """The rule fails again on the day after."""
    output = await compare(context, waivers=[waiver("root", "2001-01-01")])
    assert [rule.name for rule in output.failed] == ["root"]


@given(st.lists(st.tuples(st.sampled_from(SEVERITIES), st.sampled_from(["true", "false", "facts.no"])), max_size=20))
def test_the_score(rules: list[tuple[Any, str]]) -> None:
    """The share of the weights that pass, and 100 only when all do."""
    named = [Rule(name=f"r{i}", severity=severity, expression=text) for i, (severity, text) in enumerate(rules)]
    found = judge(compiled(Baseline.model_construct(name="x", rules=named)), {}, [], TODAY)
    weights = [(WEIGHTS[severity], text == "true") for severity, text in rules]
    total = sum(weight for weight, _ in weights)
    passed = sum(weight for weight, passes in weights if passes)
    score = found.score()
    if total == 0:
        assert score is None
    else:
        assert score is not None
        assert 0 <= 100 * passed / total - score < 0.1001
        assert (score == 100) == (passed == total)
    assert len(found.outcomes()) == len(rules)


async def test_what_has_changed(context: ActionContext) -> None:
    """Against the last run: better, worse, otherwise, added, removed."""
    await compare(run_of(context, "exec-1"))
    facts = {"ssh": {"permitrootlogin": "no", "port": 2222}, "registry": {}, "firewall": {"active": True}}
    rules = {key: RULES[key] for key in ("port", "root", "windows")} | {"new": {"expression": "true"}}
    changed = (await compare(run_of(context, "exec-2"), policy(rules), facts=facts)).changes
    assert changed is not None
    assert changed.model_dump(exclude={"at"}) == {
        "execution_id": "exec-1",
        "score": 8.3,
        "score_change": 60.4,
        "newly_failed": ["port", "windows"],
        "fixed": ["root"],
        "other": [],
        "added": ["new"],
        "removed": ["firewall"],
        "baseline_changed": True,
    }
    assert changed.at.startswith(TODAY.isoformat()[:3])
    again = (await compare(run_of(context, "exec-3"), policy(rules), facts=facts, waivers=[waiver("port")])).changes
    assert again is not None
    assert (again.execution_id, again.newly_failed, again.baseline_changed) == ("exec-2", [], False)
    assert [(one.name, one.before, one.after) for one in again.other] == [("port", "failed", "waived")]


@pytest.mark.parametrize("form", ["html", "markdown"])
async def test_the_report_shows_it_all(context: ActionContext, form: str) -> None:
    """The shipped report takes the whole output, and every rule, waiver and change stands in it."""
    rules = {**RULES, "old": {"expression": "false", "title": "Nobody waits"}}
    await compare(run_of(context, "exec-1"), policy(rules), facts={"ssh": {"permitrootlogin": "no", "port": 22}})
    output = await compare(run_of(context, "exec-2"), policy(rules), waivers=[waiver("old"), waiver("gone")])
    inputs = ReportInput.model_validate({"report": "compliance", "format": form, "data": output.model_dump()})
    reported = (await ReportRender().rehearse(inputs, context)).output
    assert isinstance(reported, ReportOutput)
    page = (reported.content or "").replace("\\", "")
    shown = ["Root stays out", "Set PermitRootLogin to no.", "The facts do not have firewall.active.", "8.3 %"]
    shown += [
        "Nobody waits",
        "It is known.",
        "carol",
        FOREVER,
        "no such rule",
        "Fails now",
        "root",
        "windows",
        "undecided",
    ]
    assert [text for text in shown if text not in page] == []


async def test_a_retried_step_is_not_held_against_itself(context: ActionContext, database: Database) -> None:
    """An attempt after a lost worker answers what the first one did, also when another run came between."""
    await compare(run_of(context, "exec-1"))
    first = await compare(run_of(context, "exec-2"))
    await compare(run_of(context, "exec-3"), facts={})
    again = await compare(run_of(context, "exec-2"))
    assert again == first
    assert again.changes is not None
    assert again.changes.execution_id == "exec-1"
    other_step = await compare(run_of(context, "exec-2", "act-009"))
    assert other_step.changes is not None
    assert other_step.changes.execution_id == "exec-3"


async def test_others_are_not_compared_with(context: ActionContext) -> None:
    """Another asset, another baseline, another subject."""
    await compare(run_of(context, "exec-1"))
    other_asset = dataclasses.replace(run_of(context, "exec-2"), asset_id="asset-2")
    assert (await compare(other_asset)).changes is None
    assert (await compare(run_of(context, "exec-3"), policy(name="other"))).changes is None
    assert (await compare(run_of(context, "exec-4"), subject="db-01")).changes is None
    found = (await compare(run_of(context, "exec-5"), subject="db-01")).changes
    assert found is not None
    assert found.execution_id == "exec-4"


async def test_a_rehearsal_reads_and_keeps_nothing(context: ActionContext) -> None:
    """It says what a run would, also what has changed, as often as it is asked."""
    await compare(run_of(context, "exec-1"))
    reading = dataclasses.replace(run_of(context, "exec-2"), dry_run=True, dry_run_reads=True)
    for _ in range(2):
        changed = (await rehearsed(reading)).changes
        assert changed is not None
        assert changed.execution_id == "exec-1"
    assert (await rehearsed(dataclasses.replace(reading, dry_run_reads=False))).changes is None
    live = (await compare(run_of(context, "exec-3"))).changes
    assert live is not None
    assert live.execution_id == "exec-1"


async def test_a_rehearsal_answers_without_the_database(context: ActionContext, database: Database) -> None:
    """And a run fails so that a retry makes sense."""
    database.close()

    class Gone:
        async def last(self, *key: Any) -> None:
            raise ActionError("store_unavailable", "gone")

        keep = last

    gone = dataclasses.replace(context, stores=Stores(policy_results=Gone()), dry_run_reads=True)
    assert (await rehearsed(gone)).changes is None
    with pytest.raises(ActionError) as caught:
        await compare(gone)
    assert (caught.value.code, caught.value.retryable) == ("store_unavailable", True)
    with pytest.raises(ActionError, match="keeps no results"):
        await compare(make_context())


async def test_two_runs_at_once(context: ActionContext) -> None:
    """Each is kept, in some order; none is held against itself."""
    outputs = await asyncio.gather(*(compare(run_of(context, f"exec-{n}")) for n in range(8)))
    befores = [output.changes.execution_id if output.changes else None for output in outputs]
    assert all(before != f"exec-{n}" for n, before in enumerate(befores))
    assert befores.count(None) >= 1


async def test_old_results_are_forgotten(
    context: ActionContext, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schedule that runs for years does not fill the database; others' results stay."""
    await compare(run_of(context, "exec-other"), subject="db-01")
    for number in range(policy_results.KEPT + 3):
        await compare(run_of(context, f"exec-{number}"))
    count = database.read_sync(lambda connection: len(connection.execute(policy_results.policy_results.select()).all()))
    assert count == policy_results.KEPT + 1


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        ({"expression": "facts.a ==\n  b"}, "rule bad, expression, line 2, column 3: unknown name 'b'"),
        ({"expression": "facts.a == "}, "rule bad, expression, line 1, column 12"),
        ({"expression": "true", "when": "secrets.x == ''"}, "rule bad, when, line 1, column 1: unknown name 'secrets'"),
        ({"expression": "'a'.matches('(')"}, "rule bad, expression, line 1"),
    ],
)
async def test_a_faulty_rule_is_named(context: ActionContext, rule: dict[str, Any], place: str) -> None:
    """With its place, before anything is judged or kept."""
    error = await refused(context, policy({"good": {"expression": "true"}, "bad": rule}))
    assert error.code == "invalid_baseline"
    assert place in error.message
    assert (await compare(context)).changes is None


async def test_many_faulty_rules_are_counted(context: ActionContext) -> None:
    """The first ones are told."""
    error = await refused(context, policy({f"r{number}": {"expression": "x"} for number in range(8)}))
    assert error.message.endswith("and 3 more.")


async def test_a_baseline_that_is_too_large_together(context: ActionContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused, since compiling it would keep the worker busy."""
    monkeypatch.setattr(baselines, "MAX_NODES", 100)
    error = await refused(context, policy({f"r{number}": {"expression": "facts.a == 1"} for number in range(100)}))
    assert "too large together" in error.message


async def test_the_baselines_that_ship(context: ActionContext) -> None:
    """Each compiles, says what to do for each rule, and is undecided where nothing is known."""
    assert shipped_names() == ["linux-host", "ssh-hardening"]
    for name in shipped_names():
        assert shipped(name).name == name
        assert all(rule.title and rule.remediation for rule in shipped(name).rules)
        output = await compare(context, name, facts={})
        assert (output.score, output.compliant) == (0.0, False)
        assert all(one.missing for one in output.errors)
    assert "linux-host, ssh-hardening" in (await refused(context, "windows-host")).message


@pytest.mark.parametrize(
    "inputs",
    [
        {"baseline": policy({"r": {"expression": ""}})},
        {"baseline": {"name": "x", "rules": []}},
        {"baseline": {"name": "x", "rules": [{"name": "a", "expression": "true"}] * 2}},
        {"baseline": {"name": "../x", "rules": [{"name": "a", "expression": "true"}]}},
        {"baseline": "../../etc/passwd"},
        {"baseline": policy({"r": {"expression": "true", "severity": "urgent"}})},
        {"baseline": policy(), "facts": []},
        {"baseline": policy(), "waivers": [{"rule": "root", "reason": "known", "by": "carol"}]},
        {"baseline": policy(), "waivers": [{"rule": "root", "reason": "known", "until": FOREVER}]},
        {"baseline": policy(), "waivers": [waiver("root", "some day")]},
    ],
)
def test_wrong_input_is_refused(inputs: dict[str, Any]) -> None:
    """A waiver says who, why and how long; names of rules are distinct."""
    with pytest.raises(ValidationError):
        CompareInput.model_validate({"facts": FACTS, **inputs})
