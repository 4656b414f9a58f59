import base64
import gzip
import json
import re
import shutil
from pathlib import Path
from subprocess import run

import plotly.graph_objects as go
import pytest
from plotly.offline import get_plotlyjs

from asc_study.figures.page import Passage, Section, document, page
from asc_study.figures.theme import DARK, LIGHT, finish

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def figure(title: str = "Which <one>?") -> go.Figure:
    drawn = go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name="</script><!--<script>"))
    return finish(drawn, title, "The second & last.", height=300)


def test_a_page_opens_without_a_network_and_is_below_two_megabytes():
    text = page("a <row>", "lead", [figure(), figure()])
    assert "a &lt;row&gt;" in text
    assert "src=" not in text
    assert len(text) < 2.1e6
    (packed,) = re.findall(r'id="plotly">([^<]*)<', text)
    assert gzip.decompress(base64.b64decode(packed)).decode() == get_plotlyjs()


def test_a_page_from_the_network_is_small_and_takes_the_installed_version_only():
    text = page("t", "l", [figure()], "cdn")
    assert re.search(r'<script src="https://cdn.plot.ly/plotly-[\d.]+.min.js" integrity="sha256-', text)
    assert len(text) < 20_000


def test_title_and_sentence_are_text_of_the_page():
    text = page("t", "l", [figure()])
    assert "<h2>Which &lt;one&gt;?</h2>" in text
    assert "<figcaption>The second &amp; last.</figcaption>" in text
    (content,) = re.findall(r'<script type="application/json">(.*?)</script>', text)
    drawn = json.loads(content)
    assert drawn["data"][0]["name"] == "</script><!--<script>"
    assert not any(drawn["layout"].get(key) for key in ("title", "meta", "template"))


def test_figures_and_their_numbers_are_saved_under_the_name_of_the_page_and_sent_nowhere():
    text = page("mixup / masks", "l", [figure()])
    for kind in ("SVG", "PNG", "CSV"):
        assert re.search(rf'title: "Download [a-z ]*as {kind}"', text)
    assert 'data-name="mixup-masks-figure-1"' in text
    assert re.search('modeBarButtonsToRemove: .*"sendChartToCloud"', text)


def test_a_page_leaves_its_figures_as_they_were():
    drawn = figure()
    before = drawn.to_json()
    page("t", "l", [drawn])
    assert drawn.to_json() == before


def test_both_grounds_style_the_same_things():
    def keys(tree):
        return {key: keys(value) for key, value in tree.items()} if isinstance(tree, dict) else None

    assert keys(LIGHT) == keys(DARK)
    go.Figure(layout={"template": DARK})  # plotly accepts it


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_browser_draws_every_figure(tmp_path: Path):
    path = tmp_path / "page.html"
    path.write_text(page("t", "l", [figure(), figure()]), encoding="utf-8")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=20000", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    dom = run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert dom.count('class="cartesianlayer"') == 2
    assert re.search(r'id="failed"[^>]*></p>', dom) or "<p id='failed' role='alert'></p>" in dom


def test_a_document_holds_sections_of_figures_and_passages_under_a_table_of_contents():
    table = Passage("<table><tr><td>1</td></tr></table>", "Numbers & <more>", long=True)
    text = document("t", "l", [Section("One <s>", [figure(), table]), Section("Two", [figure("Other?")])])
    assert '<li><a href="#s1">One &lt;s&gt;</a><ul><li><a href="#s1-1">Which &lt;one&gt;?</a></li>' in text
    assert '<div class="passage long" id="s1-2"><h3>Numbers &amp; &lt;more&gt;</h3><table>' in text
    assert re.findall(r'data-name="([^"]*)"', text) == ["t-figure-1", "t-figure-2"]
    assert text.count('id="plotly"') == 1
