"""The demo: what it runs, and that its end can be typed as it stands. `make demo` runs it whole."""

import json
import sys
from types import SimpleNamespace

import pytest

from asc_study.cli import main


@pytest.fixture
def asc(monkeypatch, capsys):
    """Run `demo` with the work itself left out; returns what was worked on, and what was printed."""
    module, worked = sys.modules["asc_study.cli.demo"], []
    found = SimpleNamespace(to_dict=lambda: {"trials": 2}, render=lambda: "Search found")

    def searched(file, *rest):
        worked.append(file.name)
        return found

    def ran(file, *rest, **options):
        worked.append(file.name)
        return [SimpleNamespace(status="failed")]

    monkeypatch.setattr(module, "_simulate_demo_data", lambda folder, jobs: worked.append(folder.name))
    monkeypatch.setattr(module, "run_file", ran)
    monkeypatch.setattr(module, "_search", searched)
    monkeypatch.setattr(module, "leaderboard_text", lambda study, form="": '{"rows": []}' if form else "board")
    monkeypatch.setattr(module, "page_of", lambda name, view: f"the page of {name}")

    def run(*arguments: str) -> tuple[int, list[str], str]:
        monkeypatch.setattr(sys, "argv", ["asc-study", "demo", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, worked, capsys.readouterr().out

    return run


def test_the_demo_runs_its_study_and_its_search_and_says_what_to_try(asc):
    code, worked, out = asc()
    assert (code, worked) == (1, ["demo-data", "demo.yaml", "search_demo.yaml"])  # 1: a run failed
    assert [line for line in out.splitlines() if line in ("board", "Search found")] == ["board", "Search found"]
    assert "then open the page of demo" in out
    assert "dashboard demo --data demo-data" in out
    assert "compare demo/fcnn-plain demo/scene-system" in out


def test_the_demo_in_json(asc):
    assert json.loads(asc("--json", "--data", "here")[2]) == {"rows": [], "search": {"trials": 2}}
