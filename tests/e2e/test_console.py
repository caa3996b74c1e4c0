"""The console as people use it: start, watch, approve, cancel, compare; wide and narrow, light and dark."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.e2e.browser import DESKTOP, PHONE, Person, person, running_browser
from tests.failures.link import Link
from tests.stack import Stack, running_stack, stack_settings

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser"), pytest.mark.asyncio(loop_scope="module")]

SCREENS: dict[str, dict[str, Any]] = {"desktop": DESKTOP, "phone": PHONE}
SECRET = "hunter2-hunter2"

PARAMETERS = {
    "type": "object",
    "required": ["severity", "hosts"],
    "properties": {
        "severity": {"enum": ["low", "medium", "high"], "default": "medium", "description": "How bad it is."},
        "hosts": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "hostname"}},
        "threshold": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.8},
        "notify": {"type": "boolean", "default": True, "description": "Tell the owner of each host."},
        "owner": {
            "type": "object",
            "required": ["email"],
            "properties": {"name": {"type": "string"}, "email": {"type": "string", "format": "email"}},
        },
        "channels": {"type": "array", "items": {"enum": ["chat", "mail", "pager"]}, "default": ["chat"]},
        "firewall_key": {"type": "string", "writeOnly": True},
    },
}
STEPS: list[dict[str, Any]] = [
    {"id": "look", "name": "Look at the host", "action_ref": "core.echo", "parameters": {"host": "{{ asset.name }}"}},
    {
        "id": "production",
        "name": "Is it in production?",
        "type": "condition",
        "expression": "asset.tags.env == 'prod'",
        "on_true": "ask",
        "on_false": "isolate",
    },
    {
        "id": "ask",
        "name": "Ask the one on call",
        "type": "approval",
        "message": "Take {{ asset.name }} off the network?",
        "timeout": "4h",
    },
    {
        "id": "isolate",
        "name": "Isolate and collect",
        "type": "parallel",
        "branches": [
            [
                {
                    "id": "block",
                    "name": "Block at the firewall",
                    "action_ref": "core.echo",
                    "parameters": {"key": "{{ parameters.firewall_key }}", "applied": "{{ !execution.dry_run }}"},
                }
            ],
            [{"id": "collect", "name": "Collect evidence", "action_ref": "core.sleep", "parameters": {"seconds": 0.3}}],
        ],
    },
    {
        "id": "tell",
        "name": "Tell the owners",
        "type": "foreach",
        "items": "{{ parameters.hosts }}",
        "on_failure": "undo",
        "steps": [
            {"id": "tell-one", "name": "Tell one", "action_ref": "core.echo", "parameters": {"to": "{{ item }}"}}
        ],
    },
    {"id": "settle", "name": "Let it settle", "type": "delay", "duration": "1s"},
    {
        "id": "undo",
        "name": "Roll back",
        "run": "on_failure_only",
        "action_ref": "core.echo",
        "parameters": {"text": "undone"},
    },
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stanchion(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A Stanchion with a worker, for all tests of this module."""
    folder = tmp_path_factory.mktemp("console")
    async with running_stack(stack_settings(folder, temporal_ui_url="http://127.0.0.1:8233")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests of this module."""
    async with running_browser() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", params=list(SCREENS))
async def someone(request: pytest.FixtureRequest, browser: Browser, stanchion: Stack) -> AsyncIterator[Person]:
    """Somebody with this screen."""
    async with person(browser, stanchion.url, request.param, **SCREENS[request.param]) as somebody:
        yield somebody


async def contain(stanchion: Stack, name: str, *, steps: list[dict[str, Any]] | None = None) -> tuple[str, str]:
    """Stores the playbook and an asset; their ids."""
    playbook = await stanchion.playbook(
        steps or STEPS,
        name=f"Contain a host ({name})",
        description="Isolate a host after an alarm, and prove it.",
        tags=["containment", "incident"],
        parameters=PARAMETERS,
        outputs={"host": "{{ asset.name }}"},
    )
    return playbook["id"], (await stanchion.asset(name=f"web-{name}"))["id"]


async def fill(someone: Person, asset: str) -> None:
    """Fills the run form as far as it must be."""
    page = someone.page
    await page.get_by_label("Run it on").select_option(asset)
    await page.get_by_role("button", name="Add to Hosts").click()
    await page.get_by_label("Hosts 1", exact=True).fill("web-01.example.com")
    await page.get_by_label("Firewall key").fill(SECRET)


async def test_rehearse_run_approve_and_compare(someone: Person, stanchion: Stack) -> None:
    """From the list to a rehearsal, to the live run that waits, is approved, ends, and is compared."""
    playbook, asset = await contain(stanchion, someone.name)
    page = someone.page
    await someone.open("/playbooks")
    await page.get_by_label("Search").fill(f"({someone.name})")
    await expect(page.locator(".tile")).to_have_count(1)
    await someone.look("playbooks")
    await page.get_by_role("link", name=f"Contain a host ({someone.name})").click()
    await expect(page.get_by_role("heading", name="Flow")).to_be_visible()
    await someone.look("playbook")

    await page.get_by_role("link", name="Rehearse or run").click()
    await page.get_by_role("button", name="Rehearse").last.click()
    await expect(page.locator("#asset")).to_have_attribute("aria-invalid", "true")
    await someone.look("run-without-asset")
    await fill(someone, asset)
    await page.get_by_label("Threshold").fill("7")
    await page.get_by_role("button", name="Rehearse").last.click()
    await expect(page.locator("#field-threshold-errors")).to_contain_text("greater than the maximum")
    await someone.look("run-with-faults")
    await page.get_by_label("Threshold").fill("0.5")
    await page.get_by_label("Firewall key").fill(SECRET)
    await page.get_by_role("button", name="Rehearse").last.click()

    await expect(page.locator("#facts")).to_contain_text("completed")
    await expect(page.locator("#step-2-head")).to_contain_text("would ask")
    await someone.look("rehearsal")
    await page.get_by_role("link", name="Run it live").click()
    await page.get_by_label("Firewall key").fill(SECRET)
    await page.get_by_role("button", name="Run", exact=True).click()

    await expect(page.locator(".decision")).to_contain_text(f"Take web-{someone.name} off the network?")
    await someone.look("waiting")
    await page.get_by_label("Comment").fill("Isolate it.")
    await page.get_by_role("button", name="Approve").click()
    await expect(page.locator("#step-2-head")).to_contain_text("completed")
    await expect(page.locator(".decision")).to_have_count(0)
    await expect(page.locator("#facts")).to_contain_text("completed")
    await expect(page.locator("#announcement")).to_contain_text("The execution is completed.")
    await page.locator("#step-4 summary").click()
    await expect(page.locator("#step-4 .step-io")).to_contain_text("***")
    assert SECRET not in await page.content()
    await someone.look("execution")

    await page.get_by_role("link", name="Compare with the rehearsal").click()
    differing = page.locator("li.differs")
    await expect(differing.filter(has_text="Block at the firewall")).to_contain_text("/output/applied")
    await someone.look("compare")
    await someone.open("/")
    await expect(page.locator("#recent")).to_contain_text(f"Contain a host ({someone.name})")
    await someone.look("overview")
    assert playbook


async def test_watch_and_cancel(someone: Person, stanchion: Stack) -> None:
    """A step's clock runs; a cancel with a reason is shown in place, with what it left as it was."""
    steps = [{"id": f"wait-{n}", "name": f"Wait {n}", "type": "delay", "duration": "10m"} for n in (1, 2)]
    execution = await stanchion.start(steps)
    page = someone.page
    await someone.open(f"/executions/{execution}")
    await expect(page.locator("#step-0-head .step-time")).to_contain_text(re.compile(r"[1-9]\d* s"))
    await expect(page.locator("#step-0-head")).to_contain_text("Waits for delay until")
    await page.get_by_text("Cancel", exact=True).click()
    await page.get_by_label("Why is it cancelled?").fill("A false alarm.")
    await someone.look("cancelling")
    await page.get_by_role("button", name="Cancel the execution").click()
    await expect(page.locator("#facts")).to_contain_text("Cancelled by admin")
    await expect(page.locator("#facts")).to_contain_text("A false alarm.")
    await expect(page.locator("#step-1-head")).to_contain_text("cancelled")
    await someone.look("cancelled")
    status = await stanchion.status(execution)
    assert (status["status"], status["cancelled"]["reason"]) == ("cancelled", "A false alarm.")
    await page.get_by_role("button", name="Run again").click()
    await expect(page.locator("#facts")).to_contain_text("running")
    again = page.url.rsplit("/", 1)[1]
    assert (await stanchion.status(again))["rerun_of"] == execution
    await stanchion.cancel(again)
    await expect(page.locator("#facts")).to_contain_text("Cancelled by admin")


async def test_typing_is_not_disturbed(browser: Browser, stanchion: Stack) -> None:
    """Steps that change leave alone what somebody is typing into the form of another, and into the cancel's."""
    steps: list[dict[str, Any]] = [
        {
            "id": "both",
            "type": "parallel",
            "branches": [
                [{"id": "ask", "name": "Ask", "type": "approval", "message": "Go?"}],
                [{"id": f"wait-{n}", "type": "delay", "duration": "1s"} for n in range(3)],
            ],
        }
    ]
    execution = await stanchion.start(steps)
    await stanchion.until_step(execution, 1, "running")
    async with person(browser, stanchion.url, "typing", **DESKTOP) as someone:
        page = someone.page
        await someone.open(f"/executions/{execution}")
        await page.get_by_label("Comment").fill("half a sen")
        await page.get_by_text("Cancel", exact=True).click()
        await page.get_by_label("Why is it cancelled?").fill("no, wa")
        await expect(page.locator("#step-4-head")).to_contain_text("completed")
        await expect(page.get_by_label("Why is it cancelled?")).to_be_focused()
        await expect(page.get_by_label("Why is it cancelled?")).to_have_value("no, wa")
        await expect(page.get_by_label("Comment")).to_have_value("half a sen")
        await page.get_by_role("button", name="Approve").click()
        await expect(page.locator("#facts")).to_contain_text("completed")


async def test_reject_in_place(someone: Person, stanchion: Stack) -> None:
    """A rejection fails the step, with the comment, while the page is open."""
    execution = await stanchion.start([{"id": "ask", "name": "Ask", "type": "approval", "message": "Go?"}])
    page = someone.page
    await someone.open("/")
    await page.locator("#waiting").get_by_role("link", name="Ask").first.click()
    await someone.open(f"/executions/{execution}")
    await page.get_by_label("Comment").fill("Not on a Friday.")
    await page.get_by_role("button", name="Reject").click()
    await expect(page.locator("#step-0-head")).to_contain_text("Not on a Friday.")
    await expect(page.locator("#facts")).to_contain_text("failed")
    await someone.look("rejected")
    await page.get_by_role("button", name="Go on from the failure").click()
    await expect(page.locator(".decision")).to_be_visible()
    again = page.url.rsplit("/", 1)[1]
    assert (await stanchion.status(again))["rerun_of"] == execution
    await page.get_by_role("button", name="Approve").click()
    await expect(page.locator("#facts")).to_contain_text("completed")


async def test_write_a_playbook(someone: Person, stanchion: Stack) -> None:
    """Faults stand at their line while one types, and go away when they are mended; revisions are compared."""
    page = someone.page
    await someone.open("/new-playbook")
    text = page.get_by_label("Definition in YAML")
    source = f"name: Typed ({someone.name})\nsteps:\n  - {{name: Say, action_ref: core.eco, parameters: {{}}}}\n"
    await text.fill(source)
    await expect(page.locator("#faults")).to_contain_text("Line 3")
    await expect(page.locator(".editor-lines .faulty")).to_have_text("3")
    await someone.look("editor-with-fault")
    await page.get_by_role("button", name="Line 3").click()
    await expect(text).to_be_focused()
    await text.fill(source.replace("core.eco", "core.echo"))
    await expect(page.locator("#faults")).to_contain_text("No faults")
    await page.get_by_role("button", name="Store").click()
    await page.get_by_role("link", name="Edit").click()
    await text.fill(source.replace("core.eco", "core.echo") + "tags: [typed]\n")
    await page.get_by_role("button", name="Store as revision 2").click()
    await page.get_by_role("link", name="Revisions").click()
    await expect(page.locator(".line-added")).to_contain_text("tags: [typed]")
    await someone.look("revisions")


async def test_lists_and_forms(someone: Person, stanchion: Stack) -> None:
    """Every other page is seen; what a list is narrowed to stands in the address, and works from there."""
    asset = await stanchion.asset(name=f"shop-{someone.name}")
    page = someone.page
    await someone.open("/sign-in")
    await someone.look("sign-in")
    await someone.open("/executions")
    await someone.look("executions")
    await page.get_by_label("State").select_option("cancelled")
    await expect(page).to_have_url(re.compile(r"status=cancelled"))
    await page.reload()
    await expect(page.get_by_label("State")).to_have_value("cancelled")
    for state in await page.locator("#list .state").all():
        await expect(state).to_have_text("cancelled")
    await someone.open(f"/assets/{asset['id']}")
    await someone.look("asset")
    await someone.open("/nothing-here")
    await expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()
    await someone.look("nothing-here")
    pages = ("assets", "audit", "tokens", "new-asset")
    for path in pages:
        await someone.open(f"/{path}")
        await someone.look(path)
    await page.locator("#name").fill("db-01")
    await page.get_by_label("Address").fill("no address")
    await page.get_by_role("button", name="Add").click()
    await expect(page.locator("#ip-errors")).to_be_visible()
    await someone.look("asset-with-fault")


async def test_colours_are_kept(browser: Browser, stanchion: Stack) -> None:
    """The button goes through system, light and dark; what was chosen is there before the next page is drawn."""
    async with person(browser, stanchion.url, "colours", **DESKTOP, color_scheme="light") as someone:
        page, root = someone.page, someone.page.locator("html")
        await expect(root).to_have_attribute("data-bs-theme", "light")
        await page.get_by_role("button", name="Colours: as the system").click()
        await page.get_by_role("button", name="Colours: light").click()
        await expect(root).to_have_attribute("data-bs-theme", "dark")
        await someone.open("/assets")
        await expect(root).to_have_attribute("data-bs-theme", "dark")


async def test_without_script(browser: Browser, stanchion: Stack) -> None:
    """Everything that matters works where no script runs: run, approve, cancel, filter."""
    playbook, asset = await contain(stanchion, "plain")
    async with person(browser, stanchion.url, "plain", **DESKTOP) as someone:
        context = await browser.new_context(
            java_script_enabled=False, storage_state=await someone.page.context.storage_state(), **DESKTOP
        )
        page = await context.new_page()
        await page.goto(f"{stanchion.url}/playbooks/{playbook}/run")
        await fill(Person(page, stanchion.url, "plain"), asset)
        await page.get_by_role("button", name="Run", exact=True).click()
        execution = page.url.rsplit("/", 1)[1]
        await stanchion.until_step(execution, 2, "running")
        await page.reload()
        await page.get_by_role("button", name="Approve").click()
        await stanchion.finish(execution)
        await page.reload()
        await expect(page.locator("#facts")).to_contain_text("completed")
        await context.close()


async def test_keyboard_alone(browser: Browser, stanchion: Stack) -> None:
    """The first key leads past the menu; Enter in the run form rehearses, and never runs."""
    playbook, asset = await contain(stanchion, "keys", steps=STEPS[:1])
    async with person(browser, stanchion.url, "keys", **DESKTOP) as someone:
        page = someone.page
        await someone.open(f"/playbooks/{playbook}/run?asset={asset}")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator("#main")).to_be_focused()
        await page.get_by_role("button", name="Add to Hosts").press("Enter")
        await page.get_by_label("Hosts 1", exact=True).fill("web-01.example.com")
        await page.get_by_label("Threshold").press("Enter")
        await expect(page.locator("#facts")).to_contain_text("Rehearsal")


async def test_page_comes_back_after_the_connection_was_lost(browser: Browser, stanchion: Stack) -> None:
    """The page says that it hears nothing; what happened meanwhile is on it as soon as it hears again."""
    execution = await stanchion.start([{"id": "ask", "name": "Ask", "type": "approval", "message": "Go?"}])
    await stanchion.until_step(execution, 0, "running")
    there = urlsplit(stanchion.url)
    link = Link(lambda: asyncio.open_connection(there.hostname, there.port))
    await link.open()
    try:
        async with person(browser, f"http://127.0.0.1:{link.port}", "lost", **DESKTOP) as someone:
            page = someone.page
            await someone.open(f"/executions/{execution}")
            await expect(page.locator(".decision")).to_be_visible()
            link.cut()
            await expect(page.locator("#connection")).to_be_visible()
            await someone.look("connection-lost")
            path = f"/api/playbooks/executions/{execution}/steps/ask/approve"
            assert (await stanchion.http.post(path, json={})).status_code == 200
            link.heal()
            await expect(page.locator("#facts")).to_contain_text("completed", timeout=20_000)
            await expect(page.locator("#connection")).to_be_hidden()
            await expect(page.locator(".decision")).to_have_count(0)
            someone.complaints.clear()
    finally:
        await link.close()


async def test_two_people_decide(browser: Browser, stanchion: Stack) -> None:
    """Who decides second is told so, on the page that is open, and the first decision stands."""
    execution = await stanchion.start([{"id": "ask", "name": "Ask", "type": "approval", "message": "Go?"}])
    await stanchion.until_step(execution, 0, "running")
    async with person(browser, stanchion.url, "first", **DESKTOP) as first:
        await first.open(f"/executions/{execution}")
        await expect(first.page.locator(".decision")).to_be_visible()
        # The page keeps its form while the decision is taken elsewhere, as one does whose events come late.
        await first.page.route("**/live**", lambda route: route.abort())
        await first.page.reload()
        path = f"/api/playbooks/executions/{execution}/steps/ask/approve"
        assert (await stanchion.http.post(path, json={"comment": "first"})).status_code == 200
        await first.page.get_by_role("button", name="Reject").click()
        await expect(first.page.locator("#notice")).to_contain_text("Not as things stand")
        first.complaints.clear()
    status = await stanchion.finish(execution)
    assert (status["status"], status["steps"][0]["output"]["comment"]) == ("completed", "first")


async def test_approval_inside_of_a_loop(browser: Browser, stanchion: Stack) -> None:
    """Each iteration that waits is decided by itself, in the folded list of iterations."""
    ask = {"id": "ask", "name": "Ask", "type": "approval", "message": "{{ item }}?"}
    loop = {"id": "each", "name": "Each", "type": "foreach", "items": "{{ ['a', 'b'] }}", "steps": [ask]}
    execution = await stanchion.start([loop])
    async with person(browser, stanchion.url, "loop", **DESKTOP) as someone:
        page = someone.page
        for number in range(2):
            await someone.open(f"/executions/{execution}")
            await page.locator("#step-0 .step-io > summary").click()
            waiting = page.locator(".iteration").nth(number)
            await waiting.get_by_role("button", name="Approve").click()
            tally = "2 of 2" if number else "1 of 2"
            await expect(page.locator("#step-0-head")).to_contain_text(f"{tally} iterations completed")
        await expect(page.locator("#facts")).to_contain_text("completed")


async def test_limited_token(browser: Browser, stanchion: Stack) -> None:
    """Who may only read some playbooks sees those, and no way to run, write or administer anything."""
    seen = await stanchion.playbook(STEPS[:1], name="Seen", tags=["seen"], parameters=PARAMETERS)
    hidden = await stanchion.playbook(STEPS[:1], name="Hidden", parameters=PARAMETERS)
    body = {"name": "reader", "permissions": ["playbook:read"], "limits": {"playbook_tags": ["seen"]}}
    token = (await stanchion.http.post("/api/tokens", json=body)).json()["token"]
    async with person(browser, stanchion.url, "reader", token=token, **DESKTOP) as someone:
        page = someone.page
        await someone.open("/playbooks")
        await expect(page.locator(".tile")).to_have_count(1)
        await expect(page.get_by_role("navigation", name="Main").get_by_role("link")).to_have_count(3)
        await someone.open(f"/playbooks/{seen['id']}")
        await expect(page.get_by_role("link", name="Rehearse or run")).to_have_count(0)
        await expect(page.get_by_role("link", name="Edit")).to_have_count(0)
        for path in (f"/playbooks/{hidden['id']}", f"/playbooks/{hidden['id']}/revisions"):
            await someone.open(path)
            await expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()
