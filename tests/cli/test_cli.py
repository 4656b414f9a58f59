import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from asc_study.cli import cli, main


@dataclass(frozen=True)
class Ended:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def asc(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run the command line in this process: starting one takes seconds."""

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["asc-study", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Ended(ended.value.code, *capsys.readouterr())

    return run


def commands(command: click.Command = cli, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command and group, as they are typed."""
    inner = command.commands if isinstance(command, click.Group) else {}
    return [path] + [found for name, below in inner.items() for found in commands(below, (*path, name))]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_help_has_an_example(asc, command):
    result = asc(*command, "--help")
    assert result.returncode == 0
    assert "Example:" in result.stdout


def test_the_module_is_the_command_line():
    command = [sys.executable, "-m", "asc_study", "rum"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("asc-study: No such command 'rum'")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "x.yaml"], "Missing option '--data': see `asc-study run --help`"),
        (["rum"], "No such command 'rum'"),
        (["run", "nowhere.yaml", "--data", "."], "study file nowhere.yaml does not exist"),
        (["leaderboard", "nothing"], "study 'nothing' has no finished runs"),
        (["leaderboard", "x", "--json", "--csv"], "exclude each other"),
        (["data", "check", "nowhere"], "nowhere"),
        (["data", "simulate", "out", "--clips-per-scene", "0"], "--clips-per-scene must be at least 3, got 0"),
        (["data", "simulate", "out", "--clips-per-scene", "many"], "'many' is not a valid int"),
        (
            ["data", "download", "tau2019", "out"],
            "unknown data_format 'tau2019': known: ",
        ),
        (["data", "add-devices", "nowhere", "out"], "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(asc, arguments, message):
    result = asc(*arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.startswith("asc-study: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{name: a, architcture: fcnn}", "unknown key 'architcture': did you mean 'architecture'?"),
        ("{name: a, batch_augmentation: {mixup: {alpha: -1}}}", "alpha` must be above 0"),
        ("{name: a, architecture: vgg16}", "unknown architecture 'vgg16'"),
        ("{name: a, batch_augmentation: {spec_augment: {time_mask_ratio: 1.2}}}", "time_mask_ratio"),
    ],
)
def test_bad_study_file_is_found_before_the_data_is_read(asc, row, message):
    Path("bad.yaml").write_text(f"study: bad\nrows: [{row}]")
    result = asc("run", "bad.yaml", "--data", "not-there-yet")
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not Path("mlflow.db").exists()


def test_data_check_and_plan(asc, simulated: Path):
    checked = asc("data", "check", str(simulated))
    assert checked.returncode == 0, checked.stdout
    report = json.loads(asc("data", "check", str(simulated), "--json").stdout)
    assert report["ok"] is True
    Path("s.yaml").write_text("study: s\nrows: [{name: a}]\nseeds: [0, 1]")
    planned = asc("plan", "s.yaml", "--data", str(simulated), "--json")
    plan = json.loads(planned.stdout)
    assert plan["counts"] == {"new": 2} | dict.fromkeys(
        ["done", "failed", "running", "interrupted", "orphaned", "stale"], 0
    )
    assert [(run["row"], run["seed"]) for run in plan["runs"]] == [("baseline", None), ("a", 0), ("a", 1)]
    assert plan["work"][0].startswith("to train: 2 runs x 254 epochs x ")
    assert "the best epoch is chosen on" in " ".join(plan["notes"])
    text = asc("plan", "s.yaml", "--data", str(simulated)).stdout
    assert "study s: 1 rows x 2 seeds: 2 new" in text
    assert [line.split()[:3] for line in text.splitlines()[1:6]] == [
        ["Row", "Seed", "Status"],
        ["--------", "----", "------"],
        ["baseline", "-", "new"],
        ["a", "0", "new"],
        ["a", "1", "new"],
    ]


def test_what_was_simulated_is_a_table(asc):
    result = asc("data", "simulate", "sim", "--clips-per-scene", "3", "--seconds", "1")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "sim: 260 clips (260 written now)"
    assert lines[1].split() == ["Split", "a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6"]
    assert lines[3].split() == ["train", "30", *["10"] * 5, *["0"] * 3]
    assert lines[4].split() == ["test", *["20"] * 9]


def test_missing_audio_stops_a_run_in_one_line(asc, simulated: Path):
    shutil.copytree(simulated, "broken")
    next(Path("broken/audio").glob("*.wav")).unlink()
    Path("s.yaml").write_text("study: s\nrows: [{name: a}]")
    result = asc("run", "s.yaml", "--data", "broken")
    assert result.returncode == 2
    assert "1 of" in result.stderr
    assert "asc-study data check" in result.stderr
    assert asc("data", "check", "broken").returncode == 1


def test_a_second_ctrl_c_finds_nobody_who_prints_a_traceback(monkeypatch, capsys):
    def interrupted(**options):
        raise KeyboardInterrupt

    monkeypatch.setattr("asc_study.cli.cli.main", interrupted)
    monkeypatch.setattr(sys, "argv", ["asc-study", "plan"])
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as ended:
            main()
        signal.raise_signal(signal.SIGINT)  # while the hooks of libraries run
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "asc-study: interrupted: the same command takes it up again\n"


@pytest.fixture
def usual_signals() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL), signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGTERM, before[0])
    signal.signal(signal.SIGINT, before[1])


def test_a_termination_ends_as_ctrl_c_does(usual_signals: None, monkeypatch, capsys):
    tidied = []

    def terminated(**options):
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            signal.raise_signal(signal.SIGTERM)  # a second one does not disturb the cleaning up
            tidied.append(True)
            raise click.Abort from None

    monkeypatch.setattr("asc_study.cli.cli.main", terminated)
    monkeypatch.setattr(sys, "argv", ["asc-study", "plan"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, tidied) == (143, [True])
    assert capsys.readouterr().err == "asc-study: terminated: the same command takes it up again\n"


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 1), (errno.EDQUOT, 1), (errno.EACCES, 2)])
def test_a_disk_that_is_full_is_no_bad_input(
    number: int, code: int, isolated: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fails(path: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("asc_study.base.files._synchronise", fails)
    words = ["data", "simulate", "sim", "--clips-per-scene", "3", "--seconds", "1"]
    monkeypatch.setattr(sys, "argv", ["asc-study", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    assert f"cannot be written ({os.strerror(number)}): make room" in capsys.readouterr().err
