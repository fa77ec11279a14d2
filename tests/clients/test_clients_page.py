"""The page of the API's descriptions in a real browser: a token opens it, requests are sent and answered, nothing leaks."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import ConsoleMessage, Page, Request, expect, sync_playwright

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
ARGUMENTS = [
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-default-apps", *(["--no-sandbox"] if os.getuid() == 0 else []),
]  # fmt: skip

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome: apt-get install chromium")


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        page.set_default_timeout(15_000)
        yield page
        browser.close()


def opened(page: Page, url: str, token: str) -> None:
    page.goto(f"{url}/docs")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Open").click()


def test_who_has_a_token_finds_an_operation_and_sends_it(page: Page, url: str, token: str) -> None:
    said: list[ConsoleMessage] = []
    asked: list[Request] = []

    # Playwright marks the functions it is given, so these must be functions.
    def hear(message: ConsoleMessage) -> None:
        said.append(message)

    def see(request: Request) -> None:
        asked.append(request)

    page.on("console", hear)
    page.on("request", see)
    opened(page, url, token)
    expect(page.locator("#who")).to_contain_text("operations")
    page.get_by_label("Find an operation").fill("getWorkflow WorkflowService")
    page.locator("nav a[data-id=WorkflowService_GetWorkflow]").click()
    page.get_by_label("namespace", exact=True).fill("default")
    page.get_by_label("name", exact=True).fill("<img src=x onerror=alert(1)>")
    page.get_by_role("button", name="Send").click()
    answer = page.locator("#answer")
    expect(answer.get_by_role("status")).to_contain_text("400")
    assert page.locator("#answer img").count() == 0, "what servers answer is text"
    assert token not in page.content(), "the command names a variable, not the token"
    assert token not in page.url
    assert page.evaluate("Object.keys(localStorage).length + Object.keys(sessionStorage).length + document.cookie.length") == 0
    assert all(one.url.startswith(url) for one in asked), "it speaks with nobody else"
    refused = [one.text for one in said if one.type == "error" and "400" not in one.text and "favicon" not in one.location["url"]]
    assert not refused, "the content security policy lets it do all it does"


def test_a_workflow_is_made_with_the_example_of_the_description(page: Page, url: str, token: str) -> None:
    opened(page, url, token)
    page.get_by_label("Find an operation").fill("bulk suspend")
    page.locator("nav a[data-id=suspendMany]").click()
    page.get_by_label("namespace", exact=True).fill("default")
    expect(page.get_by_label("Body")).to_have_value('{\n  "labels": "project=spring",\n  "dry_run": true\n}')
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#answer pre").last).to_contain_text('"matched": 0')


def test_a_wrong_token_opens_nothing(page: Page, url: str, token: str) -> None:
    opened(page, url, token + "x")
    expect(page.locator("#who")).to_contain_text("token not valid")
    expect(page.get_by_label("Find an operation")).to_be_disabled()
    opened(page, url, token)
    expect(page.locator("#who")).to_contain_text("operations")
    page.reload()
    expect(page.locator("#who")).to_be_empty()
    expect(page.get_by_label("Token")).to_have_value("")
