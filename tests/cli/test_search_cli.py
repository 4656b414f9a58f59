"""The command `search`: what it prints, and bad input as one line with exit code 2."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from asc_study.cli import main
from asc_study.settings.study_file import load_study
from asc_study.store.tracking import Tracker

ALPHA = "batch_augmentation.mixup.alpha"
CONTENT = {
    "search": "tiny",
    "base": {
        "model": {"width": 0.0625},
        "features": {"n_mels": 16},
        "training": {"epochs": 2, "batch_size": 16, "threads": 1},
        "validation": {"share": 0.4},
    },
    "space": {ALPHA: {"type": "float", "low": 0.1, "high": 1.0}},
    "holdout": {"devices": ["s3"]},
    "final": {"seeds": [0]},
}


def run(*arguments: str, **content) -> subprocess.CompletedProcess[str]:
    Path("tiny.yaml").write_text(yaml.safe_dump(CONTENT | content))
    command = [sys.executable, "-m", "asc_study", "search", "tiny.yaml", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=280)


@pytest.mark.slow
def test_a_real_search_with_its_final_training(simulated: Path):
    done = run("--data", str(simulated), "--trials", "2", "--write", "best.yaml", "--final", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["trials"]["complete"] == 2
    number = result["best"][0]["trial"]
    assert set(result["best"][0]["point"]) == {ALPHA}
    assert [row.name for row in load_study(Path("best.yaml")).rows] == [f"best-trial-{number}", "base"]
    tracker = Tracker()
    trial = tracker.runs("tiny", kind="trial")[0]
    assert {"holdout/acc_s3", "validation/acc_avg", "cost/model_kb", "epoch/train_loss"} <= set(trial.metrics)
    assert not any(name.startswith("test/") for name in trial.metrics)
    assert trial.params["validation.holdout_devices"] == "[]"
    table = tracker.artifact(trial.run_id, "holdout/s3.parquet")
    assert table.stat().st_size > 0
    finals = tracker.runs("tiny-final", kind="train")
    assert {record.tags["asc.row"]: record.status for record in finals} == {
        f"best-trial-{number}": "FINISHED",
        "base": "FINISHED",
    }
    assert all("test/acc_s4-s6" in record.metrics for record in finals)


@pytest.mark.parametrize(
    ("arguments", "content", "message"),
    [
        ((), {"space": {ALPHA: {"type": "float", "low": 1.0, "high": 1.0}}}, "`low` must be below `high`"),
        (
            (),
            {"space": {ALPHA: {"type": "float", "low": 0, "high": 1, "log": True}}},
            "must be above 0 with `log: true`",
        ),
        ((), {"objectives": ["validation/acc"]}, "unknown objective 'validation/acc': did you mean 'validation/acc_"),
        ((), {"objectives": ["test/acc_avg"]}, "nothing is chosen on the test split"),
        ((), {"space": {"trainig.epochs": {"type": "int", "low": 1, "high": 2}}}, "unknown key 'trainig.epochs'"),
        (("--storage", "sqlite:////proc/optuna.db"), {}, "sqlite:////proc/optuna.db cannot be used: unable to open"),
        (("--storage", "postgresql+psycopg://me:pw@127.0.0.1:1/d"), {}, "me:***@127.0.0.1:1/d cannot be used: "),
        (("--write", "missing/best.yaml"), {}, "missing/best.yaml cannot be written (No such file"),
        (("--write", "."), {}, ". cannot be written (it is a folder)"),
        (("--write", "tiny.yaml"), {}, "--write tiny.yaml: the file is there and not what a search wrote"),
        (
            ("--storage", "sqlite://"),
            {},
            "must be a file without '?' in its path, which workers share, got 'sqlite://'",
        ),
        (("--storage", "optuna.db"), {}, "must be the URL of a database, got 'optuna.db': write sqlite:///FILE"),
        (("--storage", "postgresql://u:pw@127.0.0.1:abc/d"), {}, "://u:***@127.0.0.1:abc/d cannot be used: "),
        (("--storage", "postgresql://u:p@w@h/d"), {}, "--storage has more than one '@', got 'postgresql://u:***@h/d'"),
        (("--timeout", "nan"), {}, "--timeout must be above 0, got nan"),
        ((), {"sampler": {"name": "tpe", "multivariate": False, "group": True}}, "sampler.group needs multivariate"),
        (("--trials", "0"), {}, "--trials must be above 0, got 0"),
        (("--jobs", "0"), {}, "--jobs must be at least 1, got 0"),
        (("--profile", "small"), {}, "has no profile 'small': did you mean 'small-data'"),
        (("--set", f"{ALPHA}=0.4"), {}, f"--set sets '{ALPHA}', which is searched"),
    ],
)
def test_bad_input_is_one_line(
    simulated: Path,
    arguments: tuple[str, ...],
    content: dict,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    Path("tiny.yaml").write_text(yaml.safe_dump(CONTENT | content))
    end = () if "--trials" in arguments else ("--trials", "1")
    monkeypatch.setattr(sys, "argv", ["asc-study", "search", "tiny.yaml", "--data", str(simulated), *end, *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("asc-study: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert printed.out == ""
    assert not Path("optuna.db").exists()
    assert "pw" not in printed.err


@pytest.mark.slow
def test_an_earlier_best_study_is_overwritten(simulated: Path):
    Path("best.yaml").write_text("# Best of the search tiny: trial 7\n")
    done = run("--data", str(simulated), "--trials", "1", "--write", "best.yaml")
    assert done.returncode == 0, done.stderr
    assert "written: best.yaml" in done.stdout
    assert load_study(Path("best.yaml")).name == "tiny-final"


def test_a_search_that_ends_early_writes_its_best_so_far_and_exits_with_1(
    simulated: Path, monkeypatch: pytest.MonkeyPatch, asc
) -> None:
    from asc_study.search import run_search
    from asc_study.search.report import BEST_STUDY_HEAD

    Path("tiny.yaml").write_text(yaml.safe_dump(CONTENT))
    best = run_search.Best(0, {"holdout": 0.5}, {ALPHA: 0.3})
    ended = run_search.SearchResult("tiny", {"complete": 1}, (best,), BEST_STUDY_HEAD, ended="5 trials failed")
    monkeypatch.setattr(run_search, "run_search", lambda *given, **options: ended)
    code, printed, _ = asc("search", "tiny.yaml", "--data", str(simulated), "--trials", "9", "--write", "best.yaml")
    assert code == 1
    assert "best: trial 0" in printed
    assert Path("best.yaml").read_text() == BEST_STUDY_HEAD
