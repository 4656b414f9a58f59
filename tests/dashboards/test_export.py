"""What is saved: LaTeX that compiles, CSV with all digits, the numbers of the commands."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys

import pytest

from asc_study.cli import main
from asc_study.store.queries import Reader
from dashboards.app import create_app
from dashboards.blocks import Figure, Table
from dashboards.pages import PAGES
from dashboards.source import Source

#: What a cell of a table may hold: text, written-out characters, and the commands that the table uses.
_CELL = re.compile(
    r"(?:[^\\{}&%$#_^~]|\\[&%$#_{}]|\\text(?:backslash|asciitilde|asciicircum|less|greater|bar)(?:\{\}|\s)?"
    r"|\\(?:textbf|underline)\{(?:[^\\{}&%$#_^~]|\\[&%$#_{}])*\}|\$\\pm\$|\$[-+<>|]\$|\{\})*"
)


def check_latex(text: str) -> list[list[str]]:
    """The cells of a table of booktabs, whose parts must stand in their order and fit together."""
    lines = [line for line in text.splitlines() if line and not line.startswith("%")]
    columns = re.fullmatch(r"\\begin\{tabular\}\{([lr]+)\}", lines[0])
    assert columns, lines[0]
    rules = [lines.index(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}")]
    assert rules[0] == 1
    assert rules == sorted(rules)
    assert rules[3] == len(lines) - 1
    rows = []
    for line in (*lines[2 : rules[1]], *lines[rules[1] + 1 : rules[2]]):
        assert line.endswith(r" \\")
        cells = re.split(r"(?<!\\)&", line[:-3])
        assert len(cells) == len(columns[1]), line
        assert all(_CELL.fullmatch(cell.strip()) for cell in cells), line
        rows.append([cell.strip() for cell in cells])
    return rows


@pytest.fixture(scope="module")
def client(dashboard_store):
    return create_app(Source(Reader(dashboard_store), ("s",), patience=30.0)).server.test_client()


@pytest.fixture
def asc(dashboard_store, monkeypatch, capsys):
    """What a command prints about the store."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", dashboard_store)

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["asc-study", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return capsys.readouterr().out

    return run


def test_every_table_is_saved_as_latex_that_compiles(dashboard_store, client, tmp_path):
    saved = [client.get("/export/leaderboard.tex").text]
    source = Source(Reader(dashboard_store), ("s",), patience=30.0)
    for page in PAGES:
        for block in page.blocks(source, page.state()):
            if isinstance(block, Table) or (isinstance(block, Figure) and block.table is not None):
                saved.append(client.get(f"/export{page.path.rstrip('/')}/{block.name}.tex").text)
    assert len(saved) > 5
    for text in saved:
        assert check_latex(text)
    if latex := shutil.which("tectonic") or shutil.which("pdflatex"):
        tables = "\n\n".join(saved)
        document = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{tables}\end{{document}}"
        (tmp_path / "tables.tex").write_text(document, encoding="utf-8")
        subprocess.run([latex, "tables.tex"], cwd=tmp_path, check=True, stdin=subprocess.DEVNULL)


def test_the_saved_leaderboard_is_that_of_the_command(client, asc):
    for form, ending in {"csv": "csv", "latex": "tex", "markdown": "md", "json": "json"}.items():
        assert client.get(f"/export/leaderboard.{ending}").text == asc("leaderboard", "s", "--format", form)


def test_numbers_of_pages_are_those_of_the_commands_to_the_last_digit(client, asc):
    rows = {row["row"]: row for row in json.loads(asc("leaderboard", "s", "--json"))["rows"]}
    compared = json.loads(asc("compare", "s/plain", "s/mixup", "--json"))["subsets"]
    shown = list(csv.DictReader(io.StringIO(client.get("/export/devices/devices.csv").text)))
    for subset in compared:
        (one,) = [row for row in shown if (row["system"], row["metric"]) == ("mixup", subset["name"])]
        assert float(one["value"]) == rows["mixup"][subset["name"]]
        assert float(one["change"]) == 100 * subset["difference"] == rows["mixup"][f"{subset['name']}_change"]
        assert float(one["change_low"]) == 100 * subset["low"]
        assert float(one["change_high"]) == 100 * subset["high"]
        assert float(one["p_value"]) == subset["p_value"]
