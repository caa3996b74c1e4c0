"""The commands as they are typed, against a real HTTP server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from tests.fake_api import Asked, FakeApi, Reply, error, events, execution, listed

ASSET = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
STARTED = execution("pending", "pending") | {"playbook_id": "pb-1"}


def stanchion(api: FakeApi | str, *arguments: str) -> Result:
    """The outcome of the command line ``arguments`` against ``api``."""
    url = api if isinstance(api, str) else api.url
    return CliRunner().invoke(app, [*arguments, "--url", url, "--token", "secret"])


def run_then(*snapshots: dict[str, Any]) -> FakeApi:
    """An API that starts a run and streams ``snapshots``."""

    def answer(asked: Asked) -> Reply:
        if asked.path.endswith("/run"):
            return Reply(202, STARTED)
        return Reply(body=events(*snapshots), media="text/event-stream")

    return FakeApi(answer)


def test_run_sends_what_was_typed() -> None:
    """`run` posts asset, parameters and dry_run with the token, and prints the execution's id."""
    with run_then() as api:
        outcome = stanchion(api, "run", "triage", ASSET, "-p", "n=2", "-p", "who=me", "--dry-run")
    assert (outcome.exit_code, outcome.stdout) == (0, "exec-1\n")
    (asked,) = api.asked
    assert (asked.path, asked.headers["Authorization"]) == ("/api/playbooks/triage/run", "Bearer secret")
    assert asked.json == {"target_asset_id": ASSET, "parameters": {"n": 2, "who": "me"}, "dry_run": True}


def test_run_finds_the_asset_by_its_name() -> None:
    """An asset that is no UUID is looked up by its whole name."""

    def answer(asked: Asked) -> Reply:
        if asked.method == "GET":
            return listed({"id": "other", "name": "web-011"}, {"id": ASSET, "name": "web-01"})
        return Reply(202, STARTED)

    with FakeApi(answer) as api:
        stanchion(api, "run", "triage", "web-01")
    assert api.asked[-1].json["target_asset_id"] == ASSET


def test_ambiguous_asset_name_starts_nothing() -> None:
    """Two assets of the name: nothing is started, and the id is asked for."""
    with FakeApi(lambda _: listed({"id": "1", "name": "web"}, {"id": "2", "name": "web"})) as api:
        outcome = stanchion(api, "run", "triage", "web")
    assert outcome.exit_code == 1
    assert "2 assets have the name 'web'" in outcome.stderr
    assert len(api.asked) == 1


def test_watched_run_that_completes_ends_with_0() -> None:
    """Each change of a step is a line where the output is no terminal."""
    with run_then(execution("running", "running"), execution("completed", "completed")) as api:
        outcome = stanchion(api, "run", "triage", ASSET, "--watch")
    assert outcome.exit_code == 0
    assert [line.split()[3] for line in outcome.stdout.splitlines()[:-1]] == ["running", "completed"]


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_watched_run_that_does_not_complete_ends_with_1(state: str) -> None:
    """A watched run that fails, or is cancelled, is a failure of the command."""
    with run_then(execution(state, state)) as api:
        assert stanchion(api, "run", "triage", ASSET, "--watch").exit_code == 1


def test_watch_with_json_prints_one_document() -> None:
    """With --json stdout is the last state, and nothing else."""
    last = execution("completed", "completed")
    with run_then(execution("running", "running"), last) as api:
        outcome = stanchion(api, "watch", "exec-1", "--json")
    assert json.loads(outcome.stdout) == last


def test_conflict_is_told_with_exit_code_1() -> None:
    """The API's sentence is printed, its details with their places."""
    details = [{"path": "/parameters/n", "message": "must be a number"}]
    with FakeApi(lambda _: error(422, "validation_error", "Parameters are wrong.", details)) as api:
        outcome = stanchion(api, "run", "triage", ASSET)
    assert outcome.exit_code == 1
    assert outcome.stderr == "Parameters are wrong.\n  /parameters/n: must be a number\n"


def test_conflict_names_the_running_execution() -> None:
    """A conflict says which execution stands in the way."""
    answer = Reply(
        409, {"status": "error", "error": {"code": "conflict", "message": "Busy.", "execution_id": "exec-9"}}
    )
    with FakeApi(lambda _: answer) as api:
        outcome = stanchion(api, "run", "triage", ASSET)
    assert outcome.stderr == "Busy.\n  the running one: exec-9\n"


def test_refusal_for_an_ended_run_names_no_running_one() -> None:
    """Another 409 names an execution too, which does not run: nothing is said of it."""
    ended = {"status": "error", "error": {"code": "not_running", "message": "It has ended.", "execution_id": "exec-9"}}
    with FakeApi(lambda _: Reply(409, ended)) as api:
        outcome = stanchion(api, "cancel", "exec-9")
    assert outcome.stderr == "It has ended.\n"


def test_error_with_json_is_the_document_of_the_api() -> None:
    """With --json an error is the API's own document on stdout, still with exit code 1."""
    with FakeApi(lambda _: error(409, "conflict", "Already running.")) as api:
        outcome = stanchion(api, "run", "triage", ASSET, "--json")
    assert (outcome.exit_code, json.loads(outcome.stdout)["error"]["code"]) == (1, "conflict")


def test_absent_api_is_told() -> None:
    """Nobody listens: a sentence that says what to do, and exit code 1."""
    with FakeApi(lambda _: Reply()) as api:
        url = api.url
    outcome = stanchion(url, "status", "exec-1")
    assert (outcome.exit_code, outcome.stderr.count("\n")) == (1, 1)
    assert "Is `stanchion up` running?" in outcome.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "triage"],
        ["run", "triage", ASSET, "-p", "novalue"],
        ["status"],
        ["status", "exec-1", "--nonsense"],
        ["playbook", "push", "/no/such/file.yaml"],
        ["asset", "list", "--page", "0"],
        ["token", "create", "ci"],
        ["nonsense"],
    ],
)
def test_wrong_use_ends_with_2(arguments: list[str]) -> None:
    """What is typed wrongly is refused before anything is asked."""
    with FakeApi(lambda _: Reply()) as api:
        assert stanchion(api, *arguments).exit_code == 2
    assert api.asked == []


def test_cancel_sends_the_reason() -> None:
    """`cancel --reason` posts it, and shows the execution."""
    with FakeApi(lambda _: Reply(body=execution("cancelled", "cancelled"))) as api:
        outcome = stanchion(api, "cancel", "exec-1", "--reason", "wrong host")
    assert api.asked[0].json == {"reason": "wrong host"}
    assert "cancelled" in outcome.stdout


def test_id_cannot_reach_another_route() -> None:
    """What stands for an id stays one part of the path, whatever it holds."""
    with FakeApi(lambda _: Reply(body=execution("completed"))) as api:
        stanchion(api, "status", "../../tokens?x=1")
    assert api.asked[0].path == "/api/playbooks/executions/..%2F..%2Ftokens%3Fx%3D1"


def test_output_cannot_steer_the_terminal() -> None:
    """An escape sequence in what the API tells is printed as what it is."""
    evil = execution("failed", "failed") | {"error": {"code": "x", "message": "\x1b[2Jgone"}}
    with FakeApi(lambda _: Reply(body=evil)) as api:
        outcome = stanchion(api, "status", "exec-1")
    assert "\x1b" not in outcome.stdout
    assert "\\x1b[2Jgone" in outcome.stdout


def test_push_makes_a_new_revision_of_what_is_there(tmp_path: Path) -> None:
    """A definition whose name is taken is put to the playbook that has it, the file as it is."""
    file = tmp_path / "triage.yaml"
    file.write_text("name: Triage\nsteps: []\n")
    stored = {"id": "pb-7", "slug": "triage", "name": "Triage", "revision": 2}

    def answer(asked: Asked) -> Reply:
        if asked.method == "POST":
            return error(409, "conflict", "taken")
        return listed(stored) if asked.method == "GET" else Reply(body=stored)

    with FakeApi(answer) as api:
        outcome = stanchion(api, "playbook", "push", str(file), "--json")
    assert json.loads(outcome.stdout) == [stored]
    last = api.asked[-1]
    assert (last.method, last.path, last.body) == ("PUT", "/api/playbooks/pb-7", file.read_bytes())
    assert last.headers["Content-Type"] == "application/yaml"


def test_validate_tells_each_fault_with_its_place(tmp_path: Path) -> None:
    """Every fault is a line with file, line and column; exit code 1."""
    file = tmp_path / "bad.yaml"
    file.write_text("name: 1\n")
    faults = [{"path": "/name", "message": "must be text", "line": 1, "column": 7}]
    with FakeApi(lambda _: error(400, "bad_request", "1 fault", faults)) as api:
        outcome = stanchion(api, "playbook", "validate", str(file))
    assert outcome.exit_code == 1
    assert outcome.stdout == f"{file}: line 1, column 7: /name: must be text\n"


def test_token_is_revoked_without_an_answer_body() -> None:
    """A 204 is a success."""
    with FakeApi(lambda _: Reply(204)) as api:
        outcome = stanchion(api, "token", "revoke", "tok-1")
    assert (outcome.exit_code, api.asked[0].method, api.asked[0].path) == (0, "DELETE", "/api/tokens/tok-1")


def test_token_of_the_data_folder_is_used_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a token, the one that `stanchion up` left is sent to an API on this machine."""
    (tmp_path / "admin-token").write_text("stn_local\n")
    monkeypatch.setenv("STANCHION_DATA_DIR", str(tmp_path))
    with FakeApi(lambda _: Reply(body=execution("completed"))) as api:
        CliRunner().invoke(app, ["status", "exec-1", "--url", api.url])
    assert api.asked[0].headers["Authorization"] == "Bearer stn_local"


def test_token_of_the_data_folder_stays_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token of the data folder is never meant for an API elsewhere."""
    from cli.connecting import local_token

    (tmp_path / "admin-token").write_text("stn_local\n")
    monkeypatch.setenv("STANCHION_DATA_DIR", str(tmp_path))
    assert local_token("https://stanchion.example.com") is None


def test_a_hook_is_printed_with_its_whole_address() -> None:
    """Address and secret, a line each: nothing shows them again."""
    made = {"id": "h-1", "url": "/api/hooks/stn_x", "token": "stn_x", "secret": "whsec_y", "signature": "standard"}
    with FakeApi(lambda _: Reply(201, made)) as api:
        outcome = stanchion(api, "hook", "create", "triage", "scanner")
    assert outcome.stdout.splitlines()[0].endswith("/api/hooks/stn_x")
    assert outcome.stdout.splitlines()[1] == "whsec_y"
    assert (api.asked[0].path, api.asked[0].json) == (
        "/api/playbooks/triage/hooks",
        {"name": "scanner", "signature": "standard"},
    )
