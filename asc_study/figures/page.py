"""Figures, text and tables as one HTML page that opens without a network, light or dark as the reader's system is."""

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
from typing import Any, Final

import plotly.graph_objects as go
from plotly.io import to_json
from plotly.offline import get_plotlyjs, get_plotlyjs_version

from asc_study.figures.theme import DARK, LIGHT, TITLE_HEIGHT

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#222;--soft:#555b62;--ground:#fff;--line:#e6e8eb;--link:#005a8f}
@media(prefers-color-scheme:dark){
:root{--ink:#e4e6e9;--soft:#a3a9b1;--ground:#16191d;--line:#31363d;--link:#7cc4f0}}
body{font:16px/1.5 system-ui,"Segoe UI",Roboto,Arial,sans-serif;color:var(--ink);background:var(--ground);
margin:0 auto;padding:1rem;max-width:1080px}
h1{font-size:1.6rem;line-height:1.25;margin:.5rem 0}
h2{font-size:1.15rem;line-height:1.3;margin:0 0 .5rem}
figure{margin:2.5rem 0;padding-top:1.25rem;border-top:1px solid var(--line)}
figcaption{color:var(--soft);max-width:75ch}
h1,p,figcaption{overflow-wrap:anywhere}
.plot,.scroll{overflow-x:auto}
section{margin-top:3rem;border-top:3px solid var(--line);padding-top:1rem}
section>h2{font-size:1.4rem}
h3{font-size:1.05rem;line-height:1.3;margin:0 0 .5rem}
nav ul{padding-left:1.2rem;margin:.2rem 0}
a{color:var(--link)}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
td,th{overflow-wrap:break-word}
td.long{overflow-wrap:anywhere}
th{color:var(--soft)}
th[scope=col]{overflow-wrap:normal;white-space:normal}
th[scope=row]{min-width:8rem;color:var(--ink);font-weight:normal}
.number{text-align:right}
td.number{white-space:nowrap}
small{display:block;color:var(--soft)}
.passage h3{margin-top:2rem}
nav>ul{columns:20rem;column-gap:2rem}
nav li{break-inside:avoid}
nav>ul>li{margin-bottom:.5rem}
summary{cursor:pointer;color:var(--soft)}
code{font-size:.875em}
.note{border-left:4px solid var(--line);padding-left:.8rem;max-width:80ch}
@page{size:A4;margin:14mm;@bottom-right{content:counter(page) " / " counter(pages);font:8pt sans-serif;color:#555b62}}
@page side{size:A4 landscape}
@media print{
.passage.wide,h2:has(+.wide){page:side}
:root{color-scheme:light;--ink:#222;--soft:#555b62;--ground:#fff;--line:#d0d4d8;--link:#222}
body{font-size:10pt;padding:0;max-width:none}
section{break-before:page;border:0;margin:0}
figure,.passage,tr,.note{break-inside:avoid}
.passage.long{break-inside:auto}
h2,h3{break-after:avoid}
figure{margin:1rem 0;padding-top:.75rem}
table{zoom:.76}
.wide table{zoom:1}
section:last-of-type{break-before:auto}
.plot,.scroll{overflow:visible}
details:not([open]),.modebar{display:none!important}
}
"""

#: Pixels between the margins of a printed page, which figures are drawn as wide as.
_PAPER: Final = 680
#: The same of a page on its side, for a wide table.
_SIDE: Final = 1010

#: Draws every figure, with buttons that save it and its numbers; drawn again when the system turns dark or light,
#: and for paper: on white, as wide as it, or made smaller as a whole if it may not be that narrow, as tables are.
_SCRIPT: Final = """
const dark = matchMedia("(prefers-color-scheme: dark)");
function fail(why) {
  document.getElementById("failed").textContent = "The figures cannot be drawn here: " + why;
}
function draw(paper = 0) {
  for (const table of document.querySelectorAll(".scroll > table")) {
    const wide = table.closest(".wide");
    table.style = paper ? `zoom: 1; width: ${wide ? "max" : "min"}-content` : "";
    const most = wide ? 1 : .76, fits = (wide ? SIDE : paper) / table.offsetWidth;
    if (wide && paper) table.style.zoom = Math.min(fits, most);
    else table.style = fits > 0 && fits < most ? `zoom: ${fits}` : "";
  }
  for (const plot of document.querySelectorAll(".plot > div")) {
    const figure = JSON.parse(plot.parentNode.nextElementSibling.textContent);
    const least = parseInt(plot.style.minWidth) || 0;
    figure.layout.template = TEMPLATES[dark.matches && !paper ? 1 : 0];
    if (paper) figure.layout.width = Math.max(paper, least);
    plot.style.zoom = paper ? Math.min(1, paper / least) : "";
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
unpack().then(() => draw()).catch(error => fail(error.message + ". Open the page in a browser of 2023 or later."));
"""

_FROM_NETWORK: Final = """
if (window.Plotly) draw();
else fail("plotly.js could not be loaded. Connect to the network, or set `figures: inline`.");
"""


@dataclass(frozen=True)
class Passage:
    """Text or a table between figures: HTML that is set as it is, in which whoever makes it has escaped all names.

    ``long``: it may be broken across printed pages; ``wide``: it is printed on a page on its side.
    """

    html: str
    heading: str = ""
    long: bool = False
    wide: bool = False


@dataclass(frozen=True)
class Section:
    """A part of a page under a heading of its own, which the table of contents names."""

    heading: str
    parts: Sequence[go.Figure | Passage]


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
    parts = [_figure(figure, f"{title} figure {number}", "h2") for number, figure in enumerate(figures, 1)]
    return _html(title, lead, "".join(parts), plotlyjs)


def document(title: str, lead: str, sections: Sequence[Section], plotlyjs: str = "inline") -> str:
    """Sections of figures, text and tables as one HTML page like `page`, with a table of contents."""
    contents, bodies, figures = [], [], 0
    for number, section in enumerate(sections, 1):
        named, body = [], []
        for place, part in enumerate(section.parts, 1):
            mark = f"s{number}-{place}"
            if isinstance(part, Passage):
                heading = part.heading
                head = f"<h3>{html.escape(heading)}</h3>" if heading else ""
                kind = f"passage{' long' * part.long}{' wide' * part.wide}"
                body.append(f'<div class="{kind}" id="{mark}">{head}{part.html}</div>')
            else:
                figures += 1
                heading = part.layout.title.text or ""
                body.append(_figure(part, f"{title} figure {figures}", "h3", mark))
            named += [f'<li><a href="#{mark}">{html.escape(heading)}</a></li>'] if heading else []
        heading = html.escape(section.heading)
        below = f"<ul>{''.join(named)}</ul>" if named else ""
        contents.append(f'<li><a href="#s{number}">{heading}</a>{below}</li>')
        bodies.append(f'<section id="s{number}"><h2>{heading}</h2>{"".join(body)}</section>')
    table = f'<nav aria-label="Contents"><h2>Contents</h2><ul>{"".join(contents)}</ul></nav>'
    return _html(title, lead, table + "".join(bodies), plotlyjs)


def _html(title: str, lead: str, body: str, plotlyjs: str) -> str:
    """The whole page: its style, what it says, the figures' script and plotly.js."""
    if plotlyjs == "cdn":
        load, begin = _from_network(), _FROM_NETWORK
    else:
        load, begin = f'<script type="text/plain" id="plotly">{_packed_plotlyjs()}</script>', _UNPACK
    listen = (
        'dark.addEventListener("change", () => draw());'
        f'addEventListener("beforeprint", () => draw({_PAPER}));addEventListener("afterprint", () => draw());'
    )
    script = f"const SIDE = {_SIDE}, TEMPLATES = {json.dumps([LIGHT, DARK])};{_SCRIPT}{save_script()}{begin}{listen}"
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{html.escape(title)}</h1><p>{html.escape(lead)}</p><p id='failed' role='alert'></p>"
        f"{body}{load}<script>{script}</script></body></html>"
    )


@dataclass(frozen=True)
class Drawn:
    """A figure without its title and its sentence, which a page sets as text of its own, and without a template.

    ``content`` is what plotly.js draws: ``data`` and ``layout``.
    """

    content: dict[str, Any]
    title: str
    sentence: str
    height: int
    least_width: int


def drawn(figure: go.Figure) -> Drawn:
    """Take a figure of `asc_study.figures` apart for a page."""
    content = figure.to_dict()  # a copy; plotly would check each change of a figure again
    layout = content["layout"]
    layout.pop("template", None)
    title, meta = layout.pop("title", {}).get("text") or "", layout.pop("meta", {})
    height = layout.get("height", 450)
    if title:
        height -= TITLE_HEIGHT
        margin = layout.get("margin", {})
        layout |= {"height": height, "margin": margin | {"t": max(10, margin.get("t", 100) - TITLE_HEIGHT)}}
    return Drawn(content, title, meta.get("sentence", ""), height, meta.get("least_width", 0))


def _figure(figure: go.Figure, name: str, level: str, mark: str = "") -> str:
    """One figure as HTML: heading, the empty place, what is drawn there, the sentence; it is saved under its name."""
    one = drawn(figure)
    content = to_json(one.content, validate=False).replace("<", "\\u003c")  # no name of a run can end the script
    style = f"height:{one.height}px" + (f";min-width:{one.least_width}px" if one.least_width else "")
    return (
        f"<figure{f' id={mark!r}' if mark else ''}><{level}>{html.escape(one.title)}</{level}>"
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
