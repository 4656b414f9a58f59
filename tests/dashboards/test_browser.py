"""The dashboards in a real Chromium: drawn, chosen from, linked to, saved, reached by keyboard, and audited by axe."""

import csv
import io
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

from axe_playwright_python.sync_playwright import Axe  # noqa: E402
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright  # noqa: E402

from asc_study.store.queries import Reader  # noqa: E402
from asc_study.study.leaderboard import study_leaderboard  # noqa: E402
from dashboards.app import create_app, open_server  # noqa: E402
from dashboards.pages import PAGES, listen  # noqa: E402
from dashboards.source import Source  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")]

#: What keeps a browser without a network from asking for its maker's servers.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
PATHS = [page.path for page in PAGES]

#: A page that plays, to be opened with recordings.
HEARD = "/listen?augmentation=mixup"

#: The pages that are met first: what is seen of the others in all ways, `make soak` looks at.
FIRST = ("/", "/devices", HEARD)


def few(paths: list[str]) -> list[Any]:
    """Paths, of which `make test` opens the first pages alone."""
    return [path if path in FIRST else pytest.param(path, marks=pytest.mark.soak) for path in paths]


#: Every page in the light, and in the dark as well.
SHOWN = [
    *((path, "light") for path in [*PATHS, HEARD]),
    *(
        (path, "dark") if path in FIRST else pytest.param(path, "dark", marks=pytest.mark.soak)
        for path in [*PATHS, HEARD]
    ),
]


@contextmanager
def served(source: Source) -> Iterator[str]:
    """The address under which a source is served."""
    server = open_server(create_app(source), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def address(dashboard_store: str) -> Iterator[str]:
    with served(Source(Reader(dashboard_store), ("s",), patience=60.0)) as found:
        yield found


@pytest.fixture(scope="module")
def heard_address(heard_store: str, simulated: Path) -> Iterator[str]:
    """The dashboards with recordings; what is compiled and imported first takes long on a busy machine."""
    source = Source(Reader(heard_store), ("s",), simulated, patience=60.0)
    listen.PAGE.blocks(source, listen.Listen())
    with served(source) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Window:
    """A page of the browser that remembers what went wrong in it."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.page: Page = context.new_page()
        self.address, self.faults, self.asked = address, [], set()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self.asked.add(urlsplit(request.url).netloc))

    def _heard(self, message) -> None:
        if message.type == "error":
            self.faults.append(message.text)

    def open(self, path: str) -> Page:
        """Open a page and wait until all of it is drawn."""
        self.page.goto(self.address + path)
        self.drawn()
        return self.page

    def drawn(self) -> None:
        expect(self.page.locator("main .figure, main .note").first).to_be_visible(timeout=30_000)
        self.page.wait_for_load_state("networkidle")
        self.page.wait_for_function(
            "[...document.querySelectorAll('main .plot')].every(one => one.querySelector('.main-svg'))", timeout=30_000
        )


@pytest.fixture
def window(browser: Browser, address: str) -> Iterator[Window]:
    with browser.new_context(
        viewport={"width": 1280, "height": 900}, permissions=["clipboard-read", "clipboard-write"]
    ) as context:
        yield Window(context, address)


@pytest.mark.parametrize(("path", "scheme"), SHOWN)
def test_every_page_is_drawn_without_errors_and_can_be_used_by_everybody(browser, address, heard_address, path, scheme):
    address = heard_address if path == HEARD else address
    with browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=scheme) as context:
        window = Window(context, address)
        page = window.open(path)
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
        assert not window.faults
        assert window.asked == {urlsplit(address).netloc}  # nothing comes from elsewhere
        found = Axe().run(page)
        serious = [one for one in found.response["violations"] if one["impact"] in ("serious", "critical")]
        assert not serious, [(one["id"], [node["html"][:200] for node in one["nodes"]][:3]) for one in serious]


@pytest.mark.parametrize("path", few([*PATHS, HEARD]))
def test_on_a_phone_nothing_hangs_over_the_edge(browser, address, heard_address, path):
    address = heard_address if path == HEARD else address
    with browser.new_context(viewport={"width": 400, "height": 800}) as context:
        page = Window(context, address).open(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400


def choose(page: Page, control: str, *options: str) -> None:
    """Choose in a dropdown by what is read there."""
    page.get_by_role("button", name=control).click()
    for option in options:
        page.get_by_role("option", name=option, exact=True).click()
    page.keyboard.press("Escape")


def drawn_systems(page: Page) -> list[str]:
    return page.evaluate(
        "document.querySelector('main .js-plotly-plot').data.filter(one => one.showlegend).map(one => one.name)"
    )


def test_a_choice_changes_the_figure_and_its_link_brings_it_back(window, browser, address):
    page = window.open("/devices")
    assert drawn_systems(page) == ["plain", "mixup", "mixup <b>masks</b>"]
    choose(page, "Systems", "mixup")
    page.wait_for_url("**rows=plain**")
    window.drawn()
    page.wait_for_function("document.querySelector('main .js-plotly-plot').data.length < 5")
    chosen = drawn_systems(page)
    assert chosen == ["plain", "mixup <b>masks</b>"]
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    with browser.new_context() as context:
        other = Window(context, "")
        assert drawn_systems(other.open(link)) == chosen
    page.go_back()
    page.wait_for_function("document.querySelector('main .js-plotly-plot').data.length == 5")
    expect(page.get_by_role("button", name="Systems")).to_contain_text("3 selected")
    assert not window.faults


def test_the_commonest_question_takes_two_clicks(window):
    page = window.open("/")
    page.locator('[row-index="1"] [col-id="acc_s4-s6"] a').click()
    page.wait_for_url("**/devices?**")
    page.wait_for_function("document.querySelector('main .js-plotly-plot .main-svg')")
    page.wait_for_function("document.querySelector('main .js-plotly-plot').data.some(one => one.name === 'mixup')")
    assert page.url.endswith("/devices?rows=mixup&rows=plain")
    assert drawn_systems(page) == ["plain", "mixup"]
    answer = page.locator(".answer").first.inner_text()
    assert answer.startswith("mixup is better than plain on the devices never heard (+")
    assert "95 % interval" in answer
    assert not window.faults


def test_a_click_on_a_cell_lists_its_clips(window):
    page = window.open("/confusions?row=plain")
    box = page.locator("main .nsewdrag").first.bounding_box()
    page.mouse.click(box["x"] + 0.15 * box["width"], box["y"] + 0.05 * box["height"])
    page.wait_for_url("**true=airport&decided=metro_station**")
    expect(page.get_by_role("heading", name="The clips: airport taken for metro station")).to_be_visible()
    assert not window.faults


def test_search_and_columns_of_the_grid(window):
    page = window.open("/")
    rows = page.locator(".ag-pinned-left-cols-container .ag-row")
    expect(rows).to_have_count(4)
    page.get_by_label("Search").fill("masks")
    expect(rows).to_have_count(1)
    page.get_by_text("Columns", exact=True).click()
    page.get_by_label("B&C (test accuracy (%))").uncheck()
    expect(page.locator('.ag-header-cell[col-id="acc_BC"]')).to_have_count(0)
    assert not window.faults


def test_tables_are_saved_as_they_are_printed(window, dashboard_store, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", dashboard_store)
    page = window.open("/")
    saved = {}
    for form in ("CSV", "LaTeX"):
        with page.expect_download() as download:
            page.get_by_role("link", name=form, exact=True).click()
        saved[form] = Path(download.value.path()).read_text(encoding="utf-8")
    _, board = study_leaderboard("s")
    rows = list(csv.DictReader(io.StringIO(saved["CSV"])))
    assert [float(row["acc_avg"]) for row in rows] == list(board["acc_avg"])
    assert saved["LaTeX"].count(r"\\") == 1 + len(board)
    assert r"\toprule" in saved["LaTeX"]
    if latex := shutil.which("tectonic") or shutil.which("pdflatex"):
        document = r"\documentclass{article}\usepackage{booktabs}\begin{document}%s\end{document}"
        (tmp_path / "table.tex").write_text(document % saved["LaTeX"], encoding="utf-8")
        subprocess.run([latex, "table.tex"], cwd=tmp_path, check=True, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(("kind", "begins"), [("svg", b"<svg"), ("png", b"\x89PNG"), ("csv", b'"series"')])
def test_figures_are_saved(window, kind, begins):
    page = window.open("/devices")
    with page.expect_download() as download:
        page.locator(f'.figure >> nth=0 >> [data-save="{kind}"]').click()
    assert download.value.suggested_filename == f"devices.{kind}"
    assert Path(download.value.path()).read_bytes().startswith(begins)


def test_enter_follows_the_link_of_a_cell(window):
    page = window.open("/")
    page.locator('[row-index="1"] [col-id="acc_s4-s6"]').focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{window.address}/devices?rows=mixup&rows=plain")
    assert not window.faults


@pytest.mark.parametrize("path", few(PATHS))
def test_the_keyboard_reaches_everything(window, path):
    page = window.open(path)
    page.evaluate(
        """() => {
          window.left = new Set([...document.querySelectorAll(
            'a[href], button:not([disabled]), input:not([disabled]), summary, select, audio')]
            .filter(one => one.checkVisibility() && one.tabIndex >= 0 &&
              !one.closest('.modebar, details:not([open]) > div')));
          document.body.focus();
        }"""
    )
    for _ in range(400):
        page.keyboard.press("Tab")
        state = page.evaluate(
            """() => {
              const here = document.activeElement;
              window.left.delete(here);
              if (here.classList.contains('ag-cell'))  // Enter follows the link of a cell
                here.querySelectorAll('a').forEach(one => window.left.delete(one));
              const style = here === document.body ? null : getComputedStyle(here);
              return {left: window.left.size, seen: !style || here.className.includes('ag-') ||
                style.outlineStyle !== 'none' || style.boxShadow !== 'none' || here.tagName === 'INPUT'};
            }"""
        )
        assert state["seen"], page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
        if not state["left"]:
            return
    pytest.fail(str(page.evaluate("[...window.left].map(one => one.outerHTML.slice(0, 160))")))


#: The last spectrogram of the first figure, as text.
PICTURE = """(() => {
  const traces = document.querySelector('main .js-plotly-plot')?._fullData;
  return traces ? Array.from(traces[traces.length - 1].z).map(row => Array.from(row).join()).join() : "";
})()"""


def another_picture(page: Page, seen: str) -> str:
    """Wait for another picture than that which was seen."""
    page.wait_for_function(f"seen => !['', seen].includes({PICTURE})", arg=seen, timeout=90_000)
    return page.evaluate(PICTURE)


def test_an_augmentation_is_seen_heard_and_linked_to_and_a_hard_clip_opens(browser, heard_address):
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        window = Window(context, heard_address)
        page = window.open("/")
        page.get_by_role("link", name="Listen").click()
        page.wait_for_url("**/listen")
        after = page.get_by_label("after", exact=True)
        seen, heard = another_picture(page, ""), after.get_attribute("src")
        choose(page, "Augmentation", "noise")
        page.wait_for_url("**augmentation=noise**")
        expect(page.get_by_role("heading", name="What does noise do to a clip?")).to_be_visible(timeout=90_000)
        seen = another_picture(page, seen)
        assert after.get_attribute("src") != heard
        page.get_by_role("link", name="Another draw").click()
        page.wait_for_url("**draw=1**")
        expect(page.get_by_text("Draw 2 of 100.")).to_be_visible(timeout=90_000)
        seen = another_picture(page, seen)
        seconds = after.evaluate(
            "one => new Promise((done, fail) => { one.onloadedmetadata = () => done(one.duration); "
            "one.onerror = () => fail(one.error.message); one.preload = 'auto'; one.load(); })"
        )
        assert abs(seconds - 1) < 0.01
        other = Window(context, "")
        assert other.open(page.url).evaluate(PICTURE) == seen
        hard = page.locator("td a").first
        name = hard.inner_text()
        hard.click()
        page.wait_for_url(f"**clip={name}**")
        expect(page.get_by_label(f"before: {name}")).to_be_visible(timeout=90_000)
        expect(page.get_by_role("button", name="Clip")).to_contain_text(name.split("-", 1)[1])
        assert not window.faults + other.faults
