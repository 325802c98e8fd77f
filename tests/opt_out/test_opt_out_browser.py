"""The page in a real browser: five languages, light and dark, desktop and phone."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, sync_playwright
from playwright.sync_api import Page as Tab

from mailfleet.panel.opt_out.languages import LANGUAGES
from opt_out.page_scene import Letters, Page, page

CHROMIUM = shutil.which("chromium")
PATIENT = 15
SIZES = {"desktop": (1100, 760), "phone": (320, 640)}
LONG = "Rechtsschutzversicherungsgesellschaften-und-Partner Verwaltungsgesellschaft mbH & Co. KG"

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and os.environ.get("CI") != "true", reason="Debian's chromium is not installed"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture
def it(letters: Letters, home: Path) -> Iterator[Page]:
    with letters.connect() as connection:
        connection.execute("UPDATE identity SET legal_name = %s, postal_address = E'1 Road\\n12345 Town'", [LONG])
    with page(home, letters.laid.conninfo) as it:
        yield it


class Watched:
    """A tab whose complaints and requests are written down."""

    def __init__(self, context: BrowserContext) -> None:
        self.tab: Tab = context.new_page()
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))

    def check(self) -> None:
        """No axe rule is broken, nothing is wider than the screen."""
        found = Axe().run(self.tab)
        assert found.violations_count == 0, found.generate_report()
        assert self.tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible_in_every_language(
    scheme: str, size: str, it: Page, letters: Letters, browser: Browser
) -> None:
    """In the browser's language: asking, thanking, and a link that does not work; without a broken rule of axe-core,
    without sideways scrolling, without a complaint of the browser's (its policy among them) or a request elsewhere.
    """
    width, height = SIZES[size]
    for language in LANGUAGES:
        number = list(LANGUAGES).index(language) % len(letters.ids)
        with letters.connect() as connection:
            connection.execute("DELETE FROM suppression")
        context = browser.new_context(
            locale=language,
            color_scheme=scheme,
            viewport={"width": width, "height": height},  # type: ignore[arg-type]
        )
        watched = Watched(context)
        tab = watched.tab
        for _ in range(PATIENT):  # a machine under load answers without names, which is right, and not looked at here
            tab.goto(f"http://127.0.0.1:{it.port}/o/{letters.token(number)}")
            if tab.locator(".sender").count():
                break
        assert tab.locator("html").get_attribute("lang") == language
        assert LONG in tab.locator(".sender").inner_text()
        watched.check()
        tab.get_by_role("button").click()
        assert tab.get_by_role("button").count() == 0 and tab.locator("svg.mark").is_visible()
        assert tab.locator("html").get_attribute("lang") == language
        watched.check()
        letters.wait_for(number)
        assert watched.complaints == []
        assert tab.goto(f"http://127.0.0.1:{it.port}/o/nothing").status == 404  # type: ignore[union-attr]
        watched.check()
        assert watched.hosts == {f"127.0.0.1:{it.port}"}
        assert context.cookies() == []
        context.close()


def test_it_works_by_keyboard_and_without_javascript(it: Page, letters: Letters, browser: Browser) -> None:
    """The first Tab is on the button, Enter opts out; the switch is plain links. No script is needed for any of it."""
    context = browser.new_context(java_script_enabled=False, locale="en")
    tab = context.new_page()
    tab.goto(f"http://127.0.0.1:{it.port}/o/{letters.token(0)}")
    tab.get_by_role("link", name="Deutsch").click()
    assert tab.locator("h1").inner_text() == "Keine E-Mails mehr?"
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    tab.locator("svg.mark").wait_for()
    assert tab.locator("h1").inner_text() == "Erledigt. Keine E-Mails mehr."
    letters.wait_for(0)
    tab.get_by_role("link", name="Français").click()
    assert tab.locator("h1").inner_text() == "C’est fait. Plus aucun e-mail."
    context.close()
