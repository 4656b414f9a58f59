"""Figures as one HTML page that opens without a network, light or dark as the reader's system is."""

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs, get_plotlyjs_version

from asc_study.figures.theme import DARK, LIGHT, TITLE_HEIGHT

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#222;--soft:#555b62;--ground:#fff;--line:#e6e8eb}
@media(prefers-color-scheme:dark){:root{--ink:#e4e6e9;--soft:#a3a9b1;--ground:#16191d;--line:#31363d}}
body{font:16px/1.5 system-ui,"Segoe UI",Roboto,Arial,sans-serif;color:var(--ink);background:var(--ground);
margin:0 auto;padding:1rem;max-width:1080px}
h1{font-size:1.6rem;line-height:1.25;margin:.5rem 0}
h2{font-size:1.15rem;line-height:1.3;margin:0 0 .5rem}
figure{margin:2.5rem 0;padding-top:1.25rem;border-top:1px solid var(--line)}
figcaption{color:var(--soft);max-width:75ch}
h1,p,figcaption{overflow-wrap:anywhere}
.plot{overflow-x:auto}
"""

#: Draws every figure, with buttons that save it and its numbers; drawn again when the system turns dark or light.
_SCRIPT: Final = """
const dark = matchMedia("(prefers-color-scheme: dark)");
function fail(why) {
  document.getElementById("failed").textContent = "The figures cannot be drawn here: " + why;
}
function draw() {
  for (const plot of document.querySelectorAll(".plot > div")) {
    const figure = JSON.parse(plot.parentNode.nextElementSibling.textContent);
    figure.layout.template = TEMPLATES[dark.matches ? 1 : 0];
    Plotly.react(plot, figure.data, figure.layout, {
      displaylogo: false, displayModeBar: "hover", responsive: true,
      modeBarButtonsToRemove: ["toImage", "sendChartToCloud", "select2d", "lasso2d"],
      modeBarButtonsToAdd: [
        {name: "svg", title: "Download as SVG", icon: Plotly.Icons.camera, click: plot => save(plot, "svg")},
        {name: "png", title: "Download as PNG", icon: Plotly.Icons["camera-retro"], click: plot => save(plot, "png")},
        {name: "csv", title: "Download the numbers as CSV", icon: Plotly.Icons.disk, click: saveCsv},
      ],
    });
  }
}
"""

#: Unpacks plotly.js, which is a third of its size so; every browser since 2023 can.
_UNPACK: Final = """
async function unpack() {
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), c => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}
unpack().then(draw).catch(error => fail(error.message + ". Open the page in a browser of 2023 or later."));
"""

_FROM_NETWORK: Final = """
if (window.Plotly) draw();
else fail("plotly.js could not be loaded. Connect to the network, or set `figures: inline`.");
"""


def page(title: str, lead: str, figures: Sequence[go.Figure], plotlyjs: str = "inline") -> str:
    """Several figures as one HTML page, each under its title, with the sentence that says what it shows.

    Parameters
    ----------
    title, lead
        The page's heading, and what stands below it.
    figures
        As `asc_study.figures` makes them; title and sentence become text of the page.
    plotlyjs
        ``inline``: self-contained, about 2 MB; ``cdn``: small, plotly.js is loaded from its network.
    """
    if plotlyjs == "cdn":
        load, begin = _from_network(), _FROM_NETWORK
    else:
        load, begin = f'<script type="text/plain" id="plotly">{_packed_plotlyjs()}</script>', _UNPACK
    parts = [_figure(figure, f"{title} figure {number}") for number, figure in enumerate(figures, 1)]
    templates = f"const TEMPLATES = {json.dumps([LIGHT, DARK])};"
    script = f'{templates}{_SCRIPT}{save_script()}{begin}dark.addEventListener("change", draw);'
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{html.escape(title)}</h1><p>{html.escape(lead)}</p><p id='failed' role='alert'></p>"
        f"{''.join(parts)}{load}<script>{script}</script></body></html>"
    )


@dataclass(frozen=True)
class Drawn:
    """A figure without its title and its sentence, which a page sets as text of its own, and without a template."""

    figure: go.Figure
    title: str
    sentence: str
    height: int
    least_width: int


def drawn(figure: go.Figure) -> Drawn:
    """Take a figure of `asc_study.figures` apart for a page."""
    plot = go.Figure(figure)
    title, meta = plot.layout.title.text or "", plot.layout.meta or {}
    plot.update_layout(template=None, title=None, meta=None)
    if title:
        plot.update_layout(
            height=(plot.layout.height or 450) - TITLE_HEIGHT,
            margin_t=max(10, (plot.layout.margin.t or 100) - TITLE_HEIGHT),
        )
    height = plot.layout.height or 450
    return Drawn(plot, title, meta.get("sentence", ""), height, meta.get("least_width", 0))


def _figure(figure: go.Figure, name: str) -> str:
    """One figure as HTML: heading, the empty place, what is drawn there, the sentence; it is saved under its name."""
    one = drawn(figure)
    content = one.figure.to_json().replace("<", "\\u003c")  # no name of a run can end the script
    style = f"height:{one.height}px" + (f";min-width:{one.least_width}px" if one.least_width else "")
    return (
        f"<figure><h2>{html.escape(one.title)}</h2>"
        f'<div class="plot"><div data-name="{html.escape(file_name(name))}" style="{style}"></div></div>'
        f'<script type="application/json">{content}</script>'
        f"<figcaption>{html.escape(one.sentence)}</figcaption></figure>"
    )


def file_name(name: str) -> str:
    """The name of a file that something of this name is saved as."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-")


@cache
def save_script() -> str:
    """What a browser needs to save a figure as SVG or PNG and its numbers as CSV: `save`, `saveCsv`."""
    return (resources.files("asc_study.figures") / "save.js").read_text(encoding="utf-8")


def _from_network() -> str:
    """The tag that loads plotly.js of the version that is installed, and no other."""
    digest = base64.b64encode(hashlib.sha256(get_plotlyjs().encode()).digest()).decode()
    address = f"https://cdn.plot.ly/plotly-{get_plotlyjs_version()}.min.js"
    return f'<script src="{address}" integrity="sha256-{digest}" crossorigin="anonymous"></script>'


@cache
def _packed_plotlyjs() -> str:
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()
