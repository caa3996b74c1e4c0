"""``scan.import``: results of nuclei and trivy as they write them, and of the real oscap; and what is no result."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from activities.action import ActionContext, ActionError
from activities.artifacts import Artifact
from activities.scans import documents, nuclei
from activities.scans.importing import ImportInput, ImportOutput, ScanImport
from activities.stores import Stores
from tests.unit.activities.action_support import Stage, make_context

SCAP = Path(__file__).parent / "scap"
CANARY = "AKIA-CANARY-0123456789"

NUCLEI: dict[str, Any] = {
    "template-id": "shop-login-bypass",
    "template-path": "http/shop-login-bypass.yaml",
    "info": {
        "name": "Login of the shop can be passed by",
        "author": ["somebody"],
        "tags": ["cve", "shop"],
        "severity": "critical",
        "description": "The shop takes any password.",
        "reference": ["https://example.com/advisory"],
        "remediation": "Update to 2.1.",
        "classification": {
            "cve-id": ["cve-2024-0001"],
            "cvss-metrics": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
            "cvss-score": 9.8,
        },
    },
    "matcher-name": "cookie",
    "type": "http",
    "host": "https://shop.example.com:8443",
    "matched-at": f"https://user:{CANARY}@shop.example.com:8443/login?next=/",
    "extracted-results": [CANARY],
    "request": f"GET / HTTP/1.1\r\nAuthorization: Bearer {CANARY}",
    "response": f"HTTP/1.1 200 OK\r\nSet-Cookie: session={CANARY}",
    "curl-command": f"curl -H 'Authorization: Bearer {CANARY}'",
    "ip": "203.0.113.7",
    "timestamp": "2026-05-01T10:00:00Z",
    "matcher-status": True,
}

TRIVY: dict[str, Any] = {
    "SchemaVersion": 2,
    "CreatedAt": "2026-05-01T10:00:00Z",
    "ArtifactName": "registry.example.com/shop:1.0",
    "ArtifactType": "container_image",
    "Results": [
        {
            "Target": "registry.example.com/shop:1.0 (debian 12.5)",
            "Class": "os-pkgs",
            "Vulnerabilities": [
                {
                    "VulnerabilityID": "CVE-2024-0002",
                    "PkgName": "libexample1",
                    "InstalledVersion": "1.0-1",
                    "FixedVersion": "1.0-2",
                    "Status": "fixed",
                    "SeveritySource": "ghsa",
                    "PrimaryURL": "https://example.com/CVE-2024-0002",
                    "Title": "libexample: reads too far",
                    "Severity": "HIGH",
                    "CVSS": {
                        "nvd": {"V3Vector": "CVSS:3.1/AV:L/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N", "V3Score": 4.0},
                        "ghsa": {"V3Vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", "V3Score": 7.5},
                    },
                    "References": ["https://example.com/CVE-2024-0002", "https://example.com/fix"],
                },
                {
                    "VulnerabilityID": "CVE-2024-0003",
                    "PkgName": "libother",
                    "InstalledVersion": "3",
                    "Status": "affected",
                    "Severity": "UNKNOWN",
                    "References": None,
                },
            ],
        },
        {
            "Target": "Dockerfile",
            "Class": "config",
            "Misconfigurations": [
                {
                    "ID": "DS-0002",
                    "Title": "The image runs as root",
                    "Message": "No USER is set.",
                    "Resolution": "Set USER.",
                    "Severity": "HIGH",
                    "Status": "FAIL",
                    "CauseMetadata": {"StartLine": 4, "Code": {"Lines": [{"Content": f"ENV KEY={CANARY}"}]}},
                },
                {"ID": "DS-0003", "Title": "Passed", "Severity": "LOW", "Status": "PASS"},
            ],
        },
        {
            "Target": "deploy.sh",
            "Class": "secret",
            "Secrets": [
                {
                    "RuleID": "aws-access-key-id",
                    "Category": "AWS",
                    "Severity": "CRITICAL",
                    "Title": "AWS access key",
                    "StartLine": 3,
                    "EndLine": 3,
                    "Match": f"export KEY={CANARY}",
                    "Code": {"Lines": [{"Content": f"export KEY={CANARY}"}]},
                }
            ],
        },
        {"Target": "nothing", "Class": "lang-pkgs", "Vulnerabilities": None},
    ],
}


@pytest.fixture(scope="session")
def scap(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the real oscap wrote about this machine: XCCDF results and ARF."""
    folder = tmp_path_factory.mktemp("scap")
    for file in SCAP.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    command = ["oscap", "xccdf", "eval", "--profile", "xccdf_example_profile_all"]
    files = {"xccdf": folder / "results.xml", "arf": folder / "arf.xml"}
    command += ["--results", str(files["xccdf"]), "--results-arf", str(files["arf"]), "benchmark.xml"]
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 2, finished.stderr  # some rule did not pass
    return {name: file.read_bytes() for name, file in files.items()}


class Kept:
    """A store with one artifact."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def put(self, context: ActionContext, name: str, media_type: str, data: bytes) -> Artifact:
        raise AssertionError("an import keeps nothing")

    async def read(self, context: ActionContext, name: str) -> Artifact | None:
        if name != "result":
            return None
        return Artifact(name, "application/octet-stream", self.data, hashlib.sha256(self.data).hexdigest())


async def take(scanner: str, content: Any, **more: Any) -> ImportOutput:
    inputs = ImportInput.model_validate({"scanner": scanner, "content": content, **more})
    return await ScanImport().run(inputs, make_context())


async def take_artifact(scanner: str, data: bytes, **more: Any) -> ImportOutput:
    inputs = ImportInput.model_validate({"scanner": scanner, "artifact": "result", **more})
    return await ScanImport().run(inputs, make_context(stores=Stores(artifacts=Kept(data))))


async def refused(scanner: str, content: Any, **more: Any) -> str:
    with pytest.raises(ActionError) as caught:
        await take(scanner, content, **more)
    assert (caught.value.code, caught.value.retryable) == ("invalid_report", False)
    return caught.value.message


async def test_nuclei() -> None:
    """A result becomes a finding, with what its template says of it."""
    (found,) = (await take("nuclei", json.dumps(NUCLEI) + "\n")).findings
    assert found.model_dump(exclude={"id", "evidence"}, exclude_defaults=True) == {
        "source": "nuclei",
        "rule": "shop-login-bypass:cookie",
        "title": "Login of the shop can be passed by",
        "severity": "critical",
        "description": "The shop takes any password.",
        "asset": "shop.example.com",
        "place": "https://shop.example.com:8443/login?next=/",
        "port": 8443,
        "protocol": "tcp",
        "cves": ["CVE-2024-0001"],
        "cvss": {"vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "score": 9.8},
        "references": ["https://example.com/advisory"],
        "remediation": "Update to 2.1.",
    }


@pytest.mark.parametrize("form", ["lines", "array", "value", "bytes"])
async def test_nuclei_in_every_form(form: str) -> None:
    """Lines, an array, JSON that a step has read, and an artifact with a byte-order mark say the same."""
    results = [NUCLEI, {**NUCLEI, "matcher-name": None, "host": "shop.example.com", "port": "22"}]
    lines = "\n".join(json.dumps(result) for result in results)
    forms: dict[str, Any] = {"lines": lines, "array": json.dumps(results, indent=2), "value": results}
    if form == "bytes":
        output = await take_artifact("nuclei", b"\xef\xbb\xbf" + lines.encode() + b"\r\n\r\n")
    else:
        output = await take("nuclei", forms[form])
    assert [one.port for one in output.findings] == [8443, 22]
    assert (output.total, output.targets, output.severities["critical"]) == (2, ["shop.example.com"], 2)


async def test_nuclei_what_did_not_match_is_no_finding() -> None:
    """``-matcher-status`` writes also what did not match; an empty result is a result."""
    assert (await take("nuclei", [{**NUCLEI, "matcher-status": False}])).total == 0
    assert (await take("nuclei", "")).model_dump()["worst"] is None


async def test_nuclei_broken_lines_are_named() -> None:
    """By their numbers, all of them; or they are skipped and told."""
    lines = [json.dumps(NUCLEI), "{broken", json.dumps({"template-id": "x", "info": {"severity": 7}}), "", '{"a": 1']
    message = await refused("nuclei", "\n".join(lines))
    assert "line 2, column 2: no JSON" in message
    assert "line 3: info.severity: " in message
    assert "line 5, column" in message
    output = await take("nuclei", "\n".join(lines), skip_broken=True)
    assert (output.total, [text.split(":")[0].split(",")[0] for text in output.broken]) == (
        1,
        ["line 2", "line 3", "line 5"],
    )


async def test_trivy() -> None:
    """Vulnerabilities, misconfigurations that failed, and secrets; the rating is that of the severity's source."""
    output = await take("trivy", json.dumps(TRIVY))
    assert [(one.rule, one.severity, one.place) for one in output.findings] == [
        ("aws-access-key-id", "critical", "deploy.sh:3"),
        ("CVE-2024-0002", "high", "registry.example.com/shop:1.0 (debian 12.5)"),
        ("DS-0002", "high", "Dockerfile"),
        ("CVE-2024-0003", "low", "registry.example.com/shop:1.0 (debian 12.5)"),
    ]
    hole = output.findings[1]
    assert (hole.package, hole.version, hole.fixed_version) == ("libexample1", "1.0-1", "1.0-2")
    assert (hole.asset, hole.cves) == ("registry.example.com/shop:1.0", ["CVE-2024-0002"])
    assert hole.cvss is not None
    assert hole.cvss.score == 7.5
    assert hole.references == ["https://example.com/CVE-2024-0002", "https://example.com/fix"]
    assert "affected" in output.findings[3].remediation
    assert (output.targets, output.scanned_at) == (["registry.example.com/shop:1.0"], "2026-05-01T10:00:00Z")


async def test_trivy_without_a_finding() -> None:
    """A clean scan has no results, or null."""
    for results in ({}, {"Results": None}, {"Results": []}):
        assert (await take("trivy", {"SchemaVersion": 2, "ArtifactName": "x", **results})).total == 0


@pytest.mark.parametrize("scanner", ["nuclei", "trivy"])
async def test_secrets_are_not_copied(scanner: str) -> None:
    """Neither values that a scanner found nor those it sent; nor from a report that is refused."""
    sample = {"nuclei": NUCLEI, "trivy": TRIVY}[scanner]
    assert CANARY not in (await take(scanner, sample)).model_dump_json()
    broken = json.loads(json.dumps(sample).replace('"severity": "critical"', f'"severity": ["{CANARY}"]'))
    broken = json.loads(json.dumps(broken).replace('"StartLine": 3', f'"StartLine": "{CANARY}"'))
    assert CANARY not in await refused(scanner, broken)


@pytest.mark.parametrize("form", ["xccdf", "arf"])
@pytest.mark.parametrize("way", ["text", "artifact"])
async def test_openscap(scap: dict[str, bytes], form: str, way: str) -> None:
    """The real scanner's results: what failed is a finding, what was not checked is no pass."""
    data = scap[form]
    output = await (take_artifact("openscap", data) if way == "artifact" else take("openscap", data.decode()))
    (found,) = output.findings
    assert (found.rule, found.severity, found.source) == ("xccdf_example_rule_absent", "medium", "openscap")
    assert (found.title, found.remediation) == ("The other file is there", "Make the file.")
    assert found.description == "It is asked for.\nWithout it nobody knows."
    assert found.references == ["https://example.com/why"]
    assert "CCE-0001-1" in found.evidence
    assert output.results == {"fail": 1, "notchecked": 1, "notselected": 1, "pass": 1}
    assert output.profile == "xccdf_example_profile_all"
    assert output.targets == [found.asset]
    assert found.asset
    assert output.scanned_at.startswith("20")
    assert output.score is not None
    assert 0 < output.score < 100


async def test_openscap_the_last_run_counts(scap: dict[str, bytes]) -> None:
    """A file may hold several runs of one target; and an error is told by its rule."""
    text = scap["xccdf"].decode()
    before, _, rest = text.partition("<TestResult")
    earlier, end, after = rest.partition("</TestResult>")
    year = earlier.partition('end-time="')[2][:4]
    older = earlier.replace(f'end-time="{year}', 'end-time="1999').replace("<result>fail", "<result>pass")
    newer = earlier.replace("<result>pass", "<result>error")
    output = await take("openscap", f"{before}<TestResult{newer}{end}<TestResult{older}{end}{after}")
    assert output.results == {"error": 1, "fail": 1, "notchecked": 1, "notselected": 1}
    assert output.undecided == ["xccdf_example_rule_present"]


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {name} "{f"&{inner};" * 10}">' for inner, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (f"{BOMB}]>\n<x>&i;</x>", "line 1: entities"),
        ('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>', "line 1: entities"),
        ('<!DOCTYPE x [\n<!ENTITY % a SYSTEM "http://127.0.0.1:1/x">%a;]><x/>', "line 2: entities"),
        ('<?xml version="1.0"?>\n<Benchmark>\n<TestResult>', "line 3, column 13: no XML"),
        ("<x>" * 101, "line 1: nested deeper than 100"),
        ("<Benchmark/>", "no TestResult"),
        ("", "no XML"),
        ("\ud800", "no XML"),
        ("<TestResult><rule-result idref='r'><result>maybe</result></rule-result></TestResult>", "rule-result r"),
        ("<TestResult><rule-result><result>pass</result></rule-result></TestResult>", "no idref"),
        ({"TestResult": 1}, "is XML"),
    ],
)
async def test_hostile_and_broken_xml(content: Any, place: str) -> None:
    """Each is refused, with its place."""
    assert place in await refused("openscap", content)


@pytest.mark.parametrize(
    ("scanner", "content", "place"),
    [
        ("trivy", "[" * 100_000, "line 1: nested deeper"),
        ("trivy", '{"SchemaVersion": 2,\n "Results": [}', "line 2, column 14: no JSON"),
        ("trivy", '{"SchemaVersion": NaN}', "NaN is no JSON"),
        ("trivy", "9" * 5000, "no JSON"),
        ("trivy", "[]", "a report of trivy is an object"),
        ("trivy", {"Results": []}, "SchemaVersion"),
        ("trivy", {"SchemaVersion": 1}, "SchemaVersion: 1"),
        ("trivy", {"SchemaVersion": 2, "Results": [{"Secrets": [{}]}]}, "Results.0.Secrets.0.RuleID: Field required"),
        ("nuclei", '[{"template-id": ""}]', "result 1: template-id"),
        ("nuclei", 7, "result 1: "),
        ("nuclei", "[" * 500, "line 1"),
        ("nuclei", '"\ud800"', "line 1: "),
    ],
)
async def test_broken_json(scanner: str, content: Any, place: str) -> None:
    """Each is refused, with its place."""
    assert place in await refused(scanner, content)


async def test_what_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """By bytes and by elements, before it costs anything."""
    monkeypatch.setattr(documents, "MAX_ELEMENTS", 1000)
    assert "more than 1000 elements" in await refused("openscap", f"<x>{'<y/>' * 1000}</x>")
    assert "more than 1000 values" in await refused("trivy", {"SchemaVersion": 2, "x": [0] * 1000})
    monkeypatch.setattr(nuclei, "MAX_RESULTS", 1000)
    assert "more than 1000 results" in await refused("nuclei", "\n".join(["{}"] * 1001))
    assert "at most" in await refused("nuclei", "x" * (documents.MAX_BYTES + 1))
    assert "at most" in await refused("trivy", "ä" * (documents.MAX_BYTES // 2 + 1))


async def test_what_is_kept_of_many() -> None:
    """The worst; the rest is counted."""
    words = ["low", "critical", "info", "high", "medium"]
    many = [{**NUCLEI, "template-id": f"t{i}", "info": {"severity": words[i % 5]}} for i in range(50)]
    output = await take("nuclei", many, limit=15)
    assert [one.severity for one in output.findings] == ["critical"] * 10 + ["high"] * 5
    assert (output.total, output.left_out, output.worst) == (50, 35, "critical")
    output = await take("nuclei", many, minimum_severity="medium")
    assert (len(output.findings), output.left_out, output.severities["none"]) == (30, 20, 10)


async def test_the_asset_may_be_named() -> None:
    """Then its findings have the ids of findings about that asset, whatever the scanner called it."""
    one = await take("nuclei", [NUCLEI], asset="web-01")
    other = await take("nuclei", [{**NUCLEI, "host": "https://203.0.113.7:8443"}], asset="web-01")
    unnamed = await take("nuclei", [NUCLEI])
    assert one.findings[0].asset == "web-01"
    assert one.findings[0].id == other.findings[0].id != unnamed.findings[0].id


async def test_an_artifact_that_there_is_not() -> None:
    """Is named."""
    context = make_context(stores=Stores(artifacts=Kept(b"")))
    inputs = ImportInput.model_validate({"scanner": "trivy", "artifact": "other.json"})
    with pytest.raises(ActionError, match=r"other\.json") as caught:
        await ScanImport().run(inputs, context)
    assert caught.value.code == "unknown_artifact"


@pytest.mark.parametrize(
    "inputs", [{}, {"content": "x", "artifact": "y"}, {"artifact": "../x"}, {"content": [], "limit": 0}]
)
def test_wrong_input_is_refused(inputs: dict[str, Any]) -> None:
    """Content or artifact, one of them."""
    with pytest.raises(ValidationError):
        ImportInput.model_validate({"scanner": "trivy", **inputs})


async def test_in_a_worker(stage: Stage) -> None:
    """It runs in a dry run too, since it only reads."""
    result = await stage.perform("scan.import", {"scanner": "trivy", "content": TRIVY}, dry_run=True)
    assert result.output["total"] == 4


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(sorted(NUCLEI)) | st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["nuclei", "trivy", "openscap"]), JSON.filter(lambda value: value is not None), st.data())
async def test_anything_is_read_or_refused(scanner: str, value: Any, data: st.DataObject) -> None:
    """No content ends in anything but findings or an error with a sentence."""
    sample = {"nuclei": NUCLEI, "trivy": TRIVY, "openscap": {}}[scanner]
    if isinstance(value, dict) and data.draw(st.booleans()):
        value = {**sample, **value}
    content = json.dumps(value) if data.draw(st.booleans()) else value
    with contextlib.suppress(ActionError):
        output = await take(scanner, content)
        assert output.total == sum(output.severities.values())
