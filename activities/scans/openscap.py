"""What OpenSCAP found: XCCDF 1.1 and 1.2 results (``oscap … --results``), alone or in an ARF (``--results-arf``).

Result words are those of NIST IR 7275, table 35.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from activities.findings import Finding, cut, cves_in, finding, severity_of
from activities.scans.documents import anywhere, fault, local, named, number, read_xml, text_of

RESULTS = frozenset(
    ["pass", "fail", "error", "unknown", "notapplicable", "notchecked", "notselected", "informational", "fixed"]
)
UNDECIDED = frozenset({"error", "unknown"})
FIX_SYSTEM = "urn:xccdf:fix:script:sh"


@dataclass(frozen=True, slots=True)
class Rule:
    """What the benchmark says of a rule."""

    title: str = ""
    description: str = ""
    severity: str = ""
    remediation: str = ""
    references: list[str] = field(default_factory=list)
    cves: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Assessment:
    """What was found: ``results`` counts the rules by their result, ``undecided`` are those that ended in an error."""

    findings: list[Finding]
    results: dict[str, int]
    undecided: list[str]
    targets: list[str]
    score: float | None
    profile: str
    ended: str


def read_openscap(data: bytes, encoding: str | None = None) -> Assessment:
    """The results in ``data``.  Raises ``ActionError`` with code ``invalid_report``.

    Of several results of one target the last counts: a result file may keep those of earlier runs.
    """
    root = read_xml(data, encoding)
    latest = {_target(result): result for result in sorted(anywhere(root, "TestResult"), key=_ended)}
    if not latest:
        raise fault("", "no TestResult in it: hand in what `oscap xccdf eval --results` or `--results-arf` wrote")
    rules = {rule.get("id", ""): _rule(rule) for rule in anywhere(root, "Rule")}
    counts: Counter[str] = Counter()
    undecided: list[str] = []
    found: list[Finding] = []
    for target, result in latest.items():
        for rule_result in named(result, "rule-result"):
            rule, word = _judged(rule_result)
            counts[word] += 1
            if word == "fail":
                found.append(_finding(target, rule_result, rule, rules.get(rule, Rule())))
            elif word in UNDECIDED:
                undecided.append(cut(rule, 200))
    last = list(latest.values())[-1]
    return Assessment(
        findings=found,
        results=dict(sorted(counts.items())),
        undecided=undecided,
        targets=[cut(target, 300) for target in latest],
        score=_score(last),
        profile=next((cut(profile.get("idref", ""), 300) for profile in named(last, "profile")), ""),
        ended=cut(_ended(last), 100),
    )


def _target(result: Element) -> str:
    return next((text_of(target) for target in named(result, "target")), "")


def _ended(result: Element) -> str:
    return result.get("end-time", "")


def _judged(rule_result: Element) -> tuple[str, str]:
    rule = rule_result.get("idref", "")
    word = next((text_of(result) for result in named(rule_result, "result")), "")
    if not rule:
        raise fault("", "a rule-result has no idref")
    if word not in RESULTS:
        raise fault(f"rule-result {cut(rule, 200)}", f"{word[:40]!r} is no result")
    return rule, word


def _rule(rule: Element) -> Rule:
    parts: dict[str, list[Element]] = {}
    for child in rule:
        parts.setdefault(local(child), []).append(child)

    def first(name: str) -> str:
        return text_of(parts[name][0]) if name in parts else ""

    fixes = parts.get("fix", [])
    script = next((fix for fix in fixes if fix.get("system") == FIX_SYSTEM), None)
    idents = " ".join(text_of(ident) for ident in parts.get("ident", []))
    return Rule(
        title=first("title"),
        description="\n".join(text for text in (first("description"), first("rationale")) if text),
        severity=rule.get("severity", ""),
        remediation=first("fixtext") or ("" if script is None else "".join(script.itertext())),
        references=[cut(href, 1000) for one in parts.get("reference", []) if (href := one.get("href", ""))],
        cves=cves_in(idents),
    )


def _finding(target: str, rule_result: Element, name: str, rule: Rule) -> Finding:
    idents = [text_of(ident) for ident in named(rule_result, "ident")]
    messages = [text_of(message) for message in named(rule_result, "message")]
    return finding(
        "openscap",
        cut(name, 200),
        rule.title or name,
        severity_of(rule_result.get("severity") or rule.severity),
        asset=cut(target, 300),
        description=rule.description,
        evidence="\n".join([*(f"Known as {cut(ident, 100)}." for ident in idents[:20] if ident), *messages[:20]]),
        remediation=rule.remediation,
        cves=[*rule.cves, *cves_in(" ".join(idents))],
        references=rule.references,
    )


def _score(result: Element) -> float | None:
    """The score in percent: scoring systems differ in their maximum, which is 100 where none is told."""
    for score in named(result, "score"):
        value, maximum = number(text_of(score)), number(score.get("maximum", "100"))
        if value is not None and maximum:
            return round(100 * value / maximum, 2)
    return None
