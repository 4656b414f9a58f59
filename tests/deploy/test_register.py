"""Bundles in MLflow's registry: which version is the champion, and what it answers over HTTP."""

import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asc_study import load_bundle
from asc_study.base.errors import InputError
from asc_study.base.progress import tell_nobody
from asc_study.cli import main
from asc_study.deploy.bundle import build_bundle
from asc_study.deploy.register import _crown, register_bundle, render
from asc_study.settings.ensemble_rows import read_ensembles
from asc_study.store.references import find_runs
from asc_study.store.registry import Version, champion, model_folder
from asc_study.systems.rows import make_ensembles


@pytest.fixture
def versions(tracker, log_run, make_table) -> Callable[..., tuple[Version, dict]]:
    """A function that makes a version of the model ``scenes`` whose run has validation predictions of a skill."""
    tracker.client.create_registered_model("scenes")

    def make(skill: float | None, clips: int = 200) -> tuple[Version, dict]:
        tables = {} if skill is None else {"validation": make_table(1, skill=skill, split="validation", clips=clips)}
        run_id = log_run(f"row {skill} {clips}", tables)
        made = tracker.client.create_model_version("scenes", "file:///nowhere", run_id)
        return Version("scenes", str(made.version), run_id), tables

    return make


def test_the_champion_changes_only_for_what_beats_it_on_validation(tracker, versions) -> None:
    assert champion(tracker, "scenes") is None
    assert champion(tracker, "no such model") is None
    first = _crown(tracker, *versions(1.0))
    assert (first.is_champion, first.note) == (True, "it is the first")
    worse = _crown(tracker, *versions(0.2))
    assert not worse.is_champion
    assert "champion: version 1 still (the new one does not beat it on validation)" in render(worse)
    better = _crown(tracker, *versions(3.0))
    assert better.is_champion
    assert champion(tracker, "scenes") == better.version
    assert "champion: version 3 (it beats the one before on validation)" in render(better)
    assert "version 3 against version 1" in render(better)
    for other in (versions(None), versions(4.0, clips=100)):
        assert not _crown(tracker, *other).is_champion
    assert champion(tracker, "scenes") == better.version


@pytest.fixture(scope="module")
def registered(trained, tmp_path_factory) -> Path:
    """A two-stage bundle in the registry of the shared store, as the model ``scenes``: it hears device b by itself."""
    folder = tmp_path_factory.mktemp("registered") / "system"
    rows = {"general": "mini/ten@0", "of-b": "mini/ten@1", "three": "mini/three@0"}
    runs = {(row, 0): find_runs(trained, reference)[0].run_id for row, reference in rows.items()}
    listed = [
        {"name": "by-device", "general": "general", "devices": {"b": "of-b"}},
        {"name": "whole", "fine": ["by-device"], "coarse": ["three"]},
    ]
    tasks = {"general": "ten_class", "of-b": "ten_class", "three": "three_class"}
    ensembles = read_ensembles(listed, tasks, where="test")
    made = make_ensembles(trained, "routed", ensembles, ensembles, [0], runs, tell_nobody)
    assert [outcome.status for outcome in made.outcomes] == ["done", "done"]
    build_bundle(trained, [], [], fusion="routed/whole", scheme="float32", out=folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASC_STUDY_CACHE", str(folder.parent / "cache"))
        assert register_bundle(trained, folder, "scenes").is_champion
    return folder


@pytest.mark.slow
def test_a_bundle_is_a_run_with_a_model_and_predictions(registered, with_trained, monkeypatch, capsys) -> None:
    (run,) = with_trained.runs("mini", kind="system")
    assert run.tags["asc.row"] == "system"
    assert set(with_trained.predictions(run.run_id)) == {"validation", "test"}
    manifest = json.loads((registered / "manifest.json").read_text())
    assert run.metrics["test/acc_avg"] == pytest.approx(manifest["metrics"]["test/acc_avg"])
    monkeypatch.setattr(sys, "argv", ["asc-study", "bundle", "register", str(registered), "--name", "scenes"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    printed = capsys.readouterr()
    assert printed.out == f"scenes version 1, run {run.run_id}\nchampion: version 1 (it was before)\n"
    assert printed.err == ""
    monkeypatch.setattr(sys, "argv", ["asc-study", "classify", "models:/scenes@champion", "no.wav"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "the recording no.wav does not exist" in capsys.readouterr().err
    with pytest.raises(InputError, match="there is no model 'models:/scenes@other'"):
        model_folder("models:/scenes@other", "manifest.json")
    with pytest.raises(InputError, match="cannot be registered as 'a/b'"):
        register_bundle(with_trained, registered, "a/b")


@pytest.mark.slow
def test_a_bundle_of_another_store_is_refused(registered, tracker) -> None:
    with pytest.raises(InputError, match="is not in this store"):
        register_bundle(tracker, registered, "scenes")


@pytest.fixture(scope="module")
def server(registered, trained) -> Iterator[Callable[..., tuple[int, Any]]]:
    """`mlflow models serve` of the champion; a function that posts a request and gives status and answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": trained.uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    command = [sys.executable, "-m", "uvicorn", "--port", str(port), "mlflow.pyfunc.scoring_server.app:app"]
    # What `mlflow models serve -m models:/scenes@champion` starts; begun here directly, so that it can be ended.
    environment["__pyfunc_model_path__"] = str(registered.parent / "model")
    import mlflow

    mlflow.set_tracking_uri(trained.uri)
    mlflow.artifacts.download_artifacts("models:/scenes@champion", dst_path=environment["__pyfunc_model_path__"])
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def post(payload: Any) -> tuple[int, Any]:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        address = f"http://127.0.0.1:{port}/invocations"
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5)
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.5)
        yield post
    finally:
        process.terminate()
        process.wait(30)


def wav(content: bytes, *devices: str | None) -> dict[str, Any]:
    """A request of a recording, once for each device that it is said to be of, where one is said."""
    text = base64.b64encode(content).decode()
    if not devices:
        return {"dataframe_split": {"columns": ["wav"], "data": [[text]]}}
    return {"dataframe_split": {"columns": ["wav", "device"], "data": [[text, device] for device in devices]}}


@pytest.mark.slow
def test_the_server_hears_each_clip_by_the_network_of_its_device(server, registered, simulated) -> None:
    content = sorted((simulated / "audio").glob("*.wav"))[0].read_bytes()
    bundle = load_bundle(registered)
    general, of_b = (bundle.classify_file(content, device).probabilities for device in ("", "b"))
    assert general != pytest.approx(of_b, abs=1e-3)

    def answered(payload: dict[str, Any]) -> list[dict[str, float]]:
        status, answer = server(payload)
        assert status == 200, answer
        return [{name: value for name, value in row.items() if name != "scene"} for row in answer["predictions"]]

    def heard(payload: dict[str, Any]) -> list[str]:
        said = {"general": general, "of-b": of_b}
        matching = [[name for name in said if row == pytest.approx(said[name], abs=1e-6)] for row in answered(payload)]
        return [name for (name,) in matching]

    assert heard(wav(content)) == ["general"]
    assert heard(wav(content, "b", "a", "unknown", None, "")) == ["of-b", *["general"] * 4]
    assert heard(wav(content, "b", None, "a") | {"params": {"device": "b"}}) == ["of-b", "of-b", "general"]
    assert heard(wav(content) | {"params": {"device": "b"}}) == ["of-b"]
    assert heard(wav(content) | {"params": {"device": "unknown"}}) == ["general"]
    columns = ["samples", "sample_rate", "device"]
    tones = [[[0.1, -0.1] * 22_050, 44_100, device] for device in ("b", "a")]
    as_b, as_a = answered({"dataframe_split": {"columns": columns, "data": tones}})
    assert as_b != pytest.approx(as_a, abs=1e-3)
    assert server(wav(content) | {"params": {"device": ["b"]}})[0] == 400


@pytest.mark.slow
def test_the_server_answers_what_the_bundle_does_and_stays_up(server, registered, simulated) -> None:
    clip = sorted((simulated / "audio").glob("*.wav"))[0]
    content = clip.read_bytes()
    expected = load_bundle(registered).classify_file(clip)

    def right() -> None:
        status, answer = server(wav(content))
        assert status == 200
        (found,) = answer["predictions"]
        assert found.pop("scene") == expected.label
        assert found == pytest.approx(expected.probabilities, abs=1e-6)

    right()
    columns = ["samples", "sample_rate"]
    status, answer = server({"dataframe_split": {"columns": columns, "data": [[[0.1, -0.1] * 22_050, 44_100]]}})
    assert status == 200
    assert len(answer["predictions"]) == 1
    refused = {
        "text": wav(b"no recording at all"),
        "cut": wav(content[:30]),
        "empty": wav(b""),
        "large": wav(content[:44] + bytes(33 * 1024**2)),
        "another column": {"dataframe_split": {"columns": ["x"], "data": [[1]]}},
        "a rate of 0": {"dataframe_split": {"columns": columns, "data": [[[0.1], 0]]}},
        "NaN": b'{"dataframe_split": {"columns": ["samples", "sample_rate"], "data": [[[NaN], 44100]]}}',
        "no JSON": b"{",
    }
    for name, payload in refused.items():
        status, answer = server(payload)
        assert status == 400, (name, answer)
        assert "Traceback" not in answer["message"], name
    right()
