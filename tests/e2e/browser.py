"""A person with a browser: Debian's Chromium, driven by Playwright, with axe looking at every page."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.stack import TOKEN

# A machine that runs everything at once may take its time.
expect.set_options(timeout=20_000)

CHROMIUM: Final = "/usr/bin/chromium"
SHOTS: Final = Path(__file__).parents[2] / "build" / "screenshots"

COLOURS: Final[tuple[Literal["light", "dark"], ...]] = ("dark", "light")
DESKTOP: Final[dict[str, Any]] = {"viewport": {"width": 1360, "height": 860}}
PHONE: Final[dict[str, Any]] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@contextlib.asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """A browser without a window."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Person:
    """One person: a page, and everything that the browser complained about."""

    page: Page
    url: str
    name: str
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self._stays_here(request.url))

    async def sign_in(self, token: str = TOKEN) -> None:
        """Signs in by the form."""
        await self.page.goto(f"{self.url}/sign-in")
        await self.page.get_by_label("Token").fill(token)
        await self.page.get_by_role("button", name="Sign in").click()
        await self.page.wait_for_url(f"{self.url}/")

    async def open(self, path: str) -> None:
        """Goes to a page."""
        await self.page.goto(self.url + path)

    async def look(self, what: str) -> None:
        """Keeps a picture of the page and has axe find nothing on it, in light and dark; nothing is wider than it."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        for colours in COLOURS:
            await self.page.emulate_media(color_scheme=colours)
            await self.page.screenshot(
                path=SHOTS / f"{what}-{self.name}-{colours}.png", full_page=True, animations="disabled"
            )
            found = await Axe().run(self.page)
            assert found.violations_count == 0, f"{what}, {colours}: {found.generate_report()}"
        size = self.page.viewport_size
        width = await self.page.evaluate("document.documentElement.scrollWidth")
        assert size is not None
        assert width <= size["width"], f"{what} is {width} wide on a screen of {size['width']}"

    def _note(self, kind: str, text: str) -> None:
        # An answer of 400 or 409 to a form is what a test asks for.
        if kind in ("error", "warning") and "Failed to load resource" not in text:
            self.complaints.append(text)

    def _stays_here(self, url: str) -> None:
        if not url.startswith((self.url, "data:")):
            self.complaints.append(f"asked for {url}")


@contextlib.asynccontextmanager
async def person(browser: Browser, url: str, name: str, token: str = TOKEN, **options: Any) -> AsyncIterator[Person]:
    """A person who has signed in; at the end the browser must have had nothing to complain about."""
    context = await browser.new_context(**options)
    try:
        somebody = Person(await context.new_page(), url, name)
        await somebody.sign_in(token)
        yield somebody
        assert somebody.complaints == []
    finally:
        await context.close()
