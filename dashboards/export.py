"""Tables to save: any table of a page as CSV, Markdown or LaTeX; the leaderboard as the command writes it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import pandas as pd

from asc_study.base.errors import InputError
from asc_study.study.leaderboard_forms import latex_text, render
from dashboards.blocks import Figure, Table
from dashboards.pages import PAGES
from dashboards.pages.leaderboard import Leaderboard, shown_frame
from dashboards.source import Source
from dashboards.state import decode

#: Ending -> what a browser is told of it.
TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {"csv": "text/csv", "md": "text/markdown", "tex": "application/x-tex", "json": "application/json"}
)

_FORMS: Final = {"csv": "csv", "md": "markdown", "tex": "latex", "json": "json"}


def leaderboard_text(source: Source, query: str, ending: str) -> str:
    """The leaderboard of a link, as `asc-study leaderboard` prints it."""
    state = decode(Leaderboard, query)
    studies = source.chosen(state.study)
    board = source.board(studies, state.reference)
    frame = shown_frame(board, state).drop(columns=["name"] if len(studies) > 1 else ["name", "study"])
    return render(frame, " + ".join(studies), _FORMS[ending], metric=state.sort or None) + "\n"  # type: ignore[arg-type]


def table_text(source: Source, path: str, name: str, query: str, ending: str) -> str:
    """A table of a page in a form.

    Raises
    ------
    InputError
        If the page has none of this name.
    """
    page = next((one for one in PAGES if one.path == path), None)
    for block in page.blocks(source, decode(page.state, query)) if page else ():
        if isinstance(block, Table) and block.name == name:
            return frame_text(block.frame, ending, block.title)
        if isinstance(block, Figure) and block.name == name and block.table is not None:
            return frame_text(block.table, ending, block.figure.layout.title.text or name)
    raise InputError(f"page {path!r} has no table {name!r}: follow a link of the page")


def frame_text(frame: pd.DataFrame, ending: str, title: str) -> str:
    """A frame as CSV with all its digits, or as Markdown or LaTeX (booktabs) with three decimals."""
    if ending == "csv":
        return frame.to_csv(index=False)
    if ending == "json":
        return frame.to_json(orient="records", indent=2) + "\n"
    numbers = [pd.api.types.is_numeric_dtype(frame[column]) for column in frame]
    rows = [[_shown(value) for value in row] for row in frame.itertuples(index=False)]
    heads = [str(column) for column in frame]
    if ending == "md":
        ruler = ["---:" if number else "---" for number in numbers]
        lines = [[one.replace("|", "\\|") for one in line] for line in (heads, ruler, *rows)]
        return "\n".join([f"**{title}**", "", *(f"| {' | '.join(line)} |" for line in lines), ""])
    body = [" & ".join(latex_text(one) for one in line) + r" \\" for line in rows]
    letters = "".join("r" if number else "l" for number in numbers)
    head = " & ".join(latex_text(one) for one in heads) + r" \\"
    begin = [f"% {title}; needs \\usepackage{{booktabs}}", rf"\begin{{tabular}}{{{letters}}}", r"\toprule"]
    return "\n".join([*begin, head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}", ""])


def _shown(value: object) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.3f}"
    return "" if value is None else str(value)
