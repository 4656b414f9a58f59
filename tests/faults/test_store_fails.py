"""A store or disk that fails in mid-study: nothing ends as FAILED, and what is trained is logged without a new epoch.

What takes long, `make soak` tries (``ASC_STUDY_SOAK``).
"""

import json
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from asc_study.cli import main
from asc_study.data.identified import identify
from asc_study.settings.study_file import load_study
from asc_study.store import failures
from asc_study.store.claims import run_lock, whereabouts
from asc_study.store.leases import Lease
from asc_study.store.spool import spools
from asc_study.store.tracking import Tracker
from asc_study.study.epoch_log import EpochLog
from asc_study.study.plan import make_plan
from asc_study.training import fit

pytestmark = pytest.mark.slow

soak = pytest.mark.skipif("ASC_STUDY_SOAK" not in os.environ, reason="make soak")

EPOCHS = 3

STUDY = {
    "study": "tiny",
    "baseline": False,
    "base": {
        "architecture": "tiny_network:TINY",
        "features": {"n_mels": 32},
        "training": {"epochs": EPOCHS, "batch_size": 10, "threads": 2},
    },
    "rows": [{"name": "one"}],
}


@dataclass
class Launches:
    """Launches of a study in this process; ``break_at`` is called in the epoch of that number."""

    data: Path
    capfd: pytest.CaptureFixture[str]
    break_at: dict[int, Callable[[], object]] = field(default_factory=dict)
    trained: list[int] = field(default_factory=list)
    said: str = ""

    def run(self, *options: str) -> int:
        """Run the command; returns its exit code."""
        self.trained.clear()
        return self.command("run", "tiny.yaml", "--data", str(self.data), *options)[0]

    def command(self, *arguments: str) -> tuple[int, str]:
        """Call any command; returns its exit code and standard output."""
        sys.argv = ["asc-study", *arguments]
        self.capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, error = self.capfd.readouterr()
        self.said = out + error
        assert "Traceback" not in self.said, self.said
        return int(ended.value.code or 0), out


@pytest.fixture
def launches(
    isolated: Path, simulated: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Launches:
    made = Launches(simulated, capfd)
    add, train = EpochLog.add, fit._train_epoch

    def added(self: EpochLog, epoch: int, measured: dict[str, float]) -> None:
        if act := made.break_at.pop(epoch + 1, None):
            act()
        add(self, epoch, measured)

    def trained(parts: fit.Parts, epoch: int) -> dict[str, float]:
        made.trained.append(epoch + 1)
        return train(parts, epoch)

    monkeypatch.setattr(EpochLog, "add", added)
    monkeypatch.setattr(fit, "_train_epoch", trained)
    monkeypatch.setattr("asc_study.study.epoch_log._LOOK_SECONDS", 0.2)
    monkeypatch.setattr(failures, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(failures.patiently, "_in_vain", False)
    monkeypatch.setattr(sys, "argv", sys.argv)
    Path("tiny.yaml").write_text(yaml.safe_dump(STUDY))
    return made


def require_done(tracker: Tracker) -> None:
    """The one run is finished, each of its epochs once."""
    (record,) = tracker.runs("tiny", kind="train")
    assert (record.status, record.failure) == ("FINISHED", "")
    history = tracker.client.get_metric_history(record.run_id, "epoch/train_loss")
    assert [one.step for one in history] == list(range(1, EPOCHS + 1))
    assert set(tracker.predictions(record.run_id)) == {"test", "validation"}
    assert not list(Path(os.environ["ASC_STUDY_CACHE"]).rglob("*.npz"))
    assert not spools()
    assert not list(Path(os.environ["ASC_STUDY_CACHE"]).rglob(".asc-tmp-*"))


@pytest.fixture
def file_size() -> Iterator[Callable[[int], None]]:
    """A function that bounds the size of every file, as a full disk or a quota does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda most: resource.setrlimit(resource.RLIMIT_FSIZE, (soft if most < 0 else most, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_costs_no_epoch(
    tracker: Tracker, launches: Launches, file_size: Callable[[int], None]
) -> None:
    """Neither the epochs nor the result can be logged, nor that the run is over."""
    launches.break_at = {EPOCHS: lambda: file_size(100_000)}  # the store is larger, a checkpoint is not
    assert launches.run() == 1
    file_size(-1)
    assert launches.trained == [1, 2, 3]
    assert "training goes on, its metrics wait on this disk" in launches.said
    assert [record.status for record in tracker.runs("tiny", kind="train")] == ["RUNNING"]
    assert launches.run() == 0
    assert launches.trained == []
    require_done(tracker)


def test_a_checkpoint_that_finds_no_room_is_no_failure(
    tracker: Tracker, launches: Launches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work goes on from the checkpoint before; its epoch is not logged twice."""

    def refuse(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        launches.break_at = {2: lambda: patched.setattr("asc_study.base.files._synchronise", refuse)}
        assert launches.run() == 1
    assert "one seed 0: INTERRUPTED: " in launches.said
    assert "cannot be written (No space left on device)" in launches.said
    assert launches.run() == 0
    assert launches.trained == [2, 3]
    require_done(tracker)


@soak
def test_artifacts_that_cannot_be_written_cost_no_epoch(tracker: Tracker, launches: Launches) -> None:
    artifacts, aside = Path("mlruns"), Path("aside")

    def block() -> None:
        artifacts.rename(aside)
        artifacts.touch()

    launches.break_at = {EPOCHS: block}
    assert launches.run() == 1
    assert "one seed 0: UNDELIVERED: " in launches.said
    assert [record.status for record in tracker.runs("tiny", kind="train")] == ["KILLED"]
    artifacts.unlink()
    aside.rename(artifacts)
    assert launches.run() == 0
    assert launches.trained == []
    require_done(tracker)


def lock_database(seconds: float) -> threading.Thread:
    """Hold the store's database as another program could; the thread ends with it."""
    held = threading.Event()

    def hold() -> None:
        with closing(sqlite3.connect("mlflow.db", isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            held.set()
            time.sleep(seconds)
            connection.execute("ROLLBACK")

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    return thread


@soak
def test_a_database_that_is_locked_for_half_a_minute_is_waited_for(
    tracker: Tracker, launches: Launches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "PATIENCE_SECONDS", 120.0)
    launches.break_at = {EPOCHS: lambda: lock_database(30)}
    assert launches.run() == 0
    assert "training goes on, its metrics wait on this disk" in launches.said
    assert launches.trained == [1, 2, 3]
    require_done(tracker)


@soak
def test_a_bug_in_a_figure_costs_no_epoch(
    tracker: Tracker, launches: Launches, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("asc_study.figures.run.summary_page", lambda *_, **more: 1 / 0)
        assert launches.run() == 1
    assert "one seed 0: FAILED: ZeroDivisionError" in launches.said
    assert launches.run() == 1
    assert "not tried again, for they failed before: one seed 0; --retry-failed tries them" in launches.said
    assert launches.run("--retry-failed") == 0
    assert launches.trained == []
    require_done(tracker)


@pytest.mark.soak
def test_the_cache_may_go_after_a_kill(tracker: Tracker, launches: Launches) -> None:
    """What a dead process left RUNNING a moment ago is taken up at once: its lock is not in the cache."""

    def die() -> None:
        raise SystemExit(9)

    launches.break_at = {2: die}
    assert launches.run() == 9
    (record,) = tracker.runs("tiny", kind="train")
    tracker.client.update_run(record.run_id, status="RUNNING")  # as kill -9 leaves it
    tracker.set_tags(record.run_id, {"asc.heartbeat": f"{time.time():.0f}", **whereabouts()})
    cache = Path(os.environ["ASC_STUDY_CACHE"])
    cache.rename(cache.with_name("gone"))
    assert launches.run() == 0
    assert launches.trained == [1, 2, 3]
    require_done(tracker)


def take_over(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the one run over on a machine of another name."""
    (record,) = tracker.runs("tiny", kind="train")
    with monkeypatch.context() as other:
        other.setenv("ASC_STUDY_STATE", "there")
        other.setattr("socket.gethostname", lambda: "there")
        Lease(tracker).take(record.run_id, {})


@pytest.mark.parametrize("is_fenced", [pytest.param(True, marks=pytest.mark.soak), pytest.param(False, marks=soak)])
def test_a_run_that_another_machine_has_taken_over_is_left_to_it(
    tracker: Tracker, launches: Launches, monkeypatch: pytest.MonkeyPatch, is_fenced: bool
) -> None:
    """Without the fence the loser writes on, and ends a run that the other one is in the middle of."""

    if not is_fenced:
        monkeypatch.setattr(Lease, "renew", lambda self: True)
    launches.break_at = {2: lambda: take_over(tracker, monkeypatch)}
    assert launches.run() == 0
    (record,) = tracker.runs("tiny", kind="train")
    history = tracker.client.get_metric_history(record.run_id, "epoch/train_loss")
    assert record.tags["asc.host"] == "there"
    if is_fenced:
        assert "one seed 0: taken over by another process, which goes on with it" in launches.said
        assert launches.trained == [1, 2]
        assert (record.status, [one.step for one in history]) == ("RUNNING", [1])
        assert not tracker.predictions(record.run_id)
        tracker.set_tags(record.run_id, {"asc.heartbeat": "5"})  # the other one dies
        assert launches.run() == 0
        assert launches.trained == [2, 3]
        require_done(tracker)
    else:
        assert (record.status, len(history)) == ("FINISHED", 3)


@pytest.mark.soak
def test_a_row_that_stays_locked_is_not_passed_over(
    tracker: Tracker, launches: Launches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever keeps the lock does not train; a moment of housekeeping is waited for."""
    monkeypatch.setattr("asc_study.study.train_run._LOCK_SECONDS", 0.0)
    signature = make_plan(load_study(Path("tiny.yaml")), identify(launches.data).digest, tracker).runs[0].spec.signature
    with run_lock(tracker, "tiny", signature):
        assert launches.run() == 1
    assert "one seed 0: INTERRUPTED: another process of " in launches.said
    monkeypatch.setattr("asc_study.study.train_run._LOCK_SECONDS", 30.0)
    held = threading.Event()

    def tidy_up() -> None:
        with run_lock(tracker, "tiny", signature):
            held.set()
            time.sleep(3)

    thread = threading.Thread(target=tidy_up)
    thread.start()
    held.wait()
    assert launches.run() == 0
    thread.join()
    require_done(tracker)


@dataclass
class Server:
    """A tracking server on a folder, which is ended and begun again."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and to its workers."""
        assert self.process
        os.killpg(self.process.pid, number)

    def begin(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder}/server.db"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, cwd=self.folder, start_new_session=True, **quiet)
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.2)
        raise AssertionError("the server did not come up")

    def end(self) -> None:
        if self.process:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path / "server"
    folder.mkdir()
    made = Server(folder, port)
    made.begin()
    yield made
    made.end()


@soak
@pytest.mark.timeout(600)
def test_a_server_that_ends_costs_no_epoch(server: Server, launches: Launches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.port}")
    launches.break_at = {2: server.end}
    assert launches.run() == 1
    assert launches.trained == [1, 2, 3]
    assert "training goes on, its metrics wait on this disk" in launches.said
    assert "one seed 0: UNDELIVERED: " in launches.said
    server.begin()
    assert launches.run() == 0
    assert launches.trained == []
    require_done(Tracker())


@soak
@pytest.mark.timeout(600)
def test_two_spellings_of_a_server_have_one_writer_a_run(server: Server, launches: Launches) -> None:
    study = STUDY | {"rows": [{"name": name, "training.momentum": 0.1 * n} for n, name in enumerate("abcdef")]}
    Path("tiny.yaml").write_text(yaml.safe_dump(study))
    command = [sys.executable, "-m", "asc_study", "run", "tiny.yaml", "--data", str(launches.data), "--json"]
    shared = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    begun = [
        subprocess.Popen(
            command,
            env=shared | {"MLFLOW_TRACKING_URI": f"http://{host}:{server.port}{slash}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for host, slash in (("127.0.0.1", ""), ("localhost", "/"))
    ]
    ended = [launch.communicate(timeout=500) for launch in begun]
    assert [launch.returncode for launch in begun] == [0, 0], ended
    outcomes = [run for out, _ in ended for run in json.loads(out)["runs"]]
    assert sorted(run["row"] for run in outcomes if run["status"] == "done") == list("abcdef")
    assert {run["status"] for run in outcomes} <= {"done", "elsewhere"}
    tracker = Tracker(f"http://127.0.0.1:{server.port}")
    records = tracker.runs("tiny", kind="train")
    assert sorted((record.tags["asc.row"], record.status) for record in records) == [(n, "FINISHED") for n in "abcdef"]
    for record in records:
        history = tracker.client.get_metric_history(record.run_id, "epoch/train_loss")
        assert [one.step for one in history] == list(range(1, EPOCHS + 1))
    assert [record.status for record in tracker.runs("tiny", kind="study")] == ["FINISHED"]


#: A launch on a machine of another name, whose leases end sooner and whose epochs last longer.
MACHINE = """
import socket, sys, time
name, fenced, *sys.argv = sys.argv[1:]
socket.gethostname = lambda: name
from asc_study.cli import main
from asc_study.store import claims, leases
from asc_study.study.epoch_log import EpochLog
claims.HEARTBEAT_LIMIT_SECONDS, claims._HEARTBEAT_SECONDS = 10, 2
add = EpochLog.add
def added(self, epoch, measured):
    add(self, epoch, measured)
    time.sleep(1)
EpochLog.add = added
if fenced == "unfenced":
    leases.Lease.renew = lambda self: True
main()
"""


@soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fence", ["fenced", "unfenced"])
def test_a_machine_that_is_paused_beyond_its_lease_writes_nothing_more(
    server: Server, launches: Launches, tmp_path: Path, fence: str
) -> None:
    """Two machines that share a server and a folder of checkpoints; without the fence both write into one run."""
    epochs = 12
    training = STUDY["base"]["training"] | {"epochs": epochs}
    Path("tiny.yaml").write_text(yaml.safe_dump(STUDY | {"base": STUDY["base"] | {"training": training}}))
    hosts = {"here": f"http://127.0.0.1:{server.port}", "there": f"http://localhost:{server.port}/"}
    tracker = Tracker(hosts["here"])

    def begin(name: str) -> subprocess.Popen[str]:
        arguments = ["asc-study", "run", "tiny.yaml", "--data", str(launches.data)]
        own = {"MLFLOW_TRACKING_URI": hosts[name], "ASC_STUDY_CHECKPOINTS": str(tmp_path / "shared")}
        own |= {f"ASC_STUDY_{what}": str(tmp_path / name / what) for what in ("STATE", "CACHE")}
        own["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
        command = [sys.executable, "-c", MACHINE, name, fence, *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, env=os.environ | own, **pipes)

    def steps() -> list[int]:
        found = tracker.runs("tiny", kind="train")
        history = tracker.client.get_metric_history(found[0].run_id, "epoch/train_loss") if found else []
        return [one.step for one in history]

    def wait_for(epoch: int) -> None:
        deadline = time.monotonic() + 120
        while epoch not in steps():
            assert time.monotonic() < deadline
            time.sleep(0.2)

    here = begin("here")
    wait_for(2)
    here.send_signal(signal.SIGSTOP)
    time.sleep(12)
    there = begin("there")
    wait_for(6)
    here.send_signal(signal.SIGCONT)
    said = {name: launch.communicate(timeout=300)[0] for name, launch in (("here", here), ("there", there))}
    (record,) = tracker.runs("tiny", kind="train")
    if fence == "unfenced":
        assert sorted(steps()) != list(range(1, epochs + 1))
        return
    assert (here.returncode, there.returncode) == (0, 0), said
    assert "one seed 0: taken over by another process" in said["here"]
    assert (record.status, record.tags["asc.host"]) == ("FINISHED", "there")
    assert steps() == list(range(1, epochs + 1))
    stretches = tracker.json_artifact(record.run_id, "environment.json")["stretches"]
    assert [stretch["first_epoch"] for stretch in stretches] in ([1, 2], [1, 3])  # from the other one's checkpoint
    assert not list((tmp_path / "shared").glob("*.npz"))


@soak
@pytest.mark.timeout(600)
def test_two_machines_that_begin_a_study_at_once_train_each_row_once(
    server: Server, launches: Launches, tmp_path: Path
) -> None:
    study = STUDY | {"rows": [{"name": name, "training.momentum": 0.1 * n} for n, name in enumerate("abcd")]}
    Path("tiny.yaml").write_text(yaml.safe_dump(study))
    begun = []
    for name in ("here", "there"):
        own = {f"ASC_STUDY_{what}": str(tmp_path / name / what) for what in ("STATE", "CACHE")}
        own["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{server.port}"
        own["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
        command = [sys.executable, "-c", MACHINE, name, "fenced", "asc-study", "run", "tiny.yaml"]
        command += ["--data", str(launches.data)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        begun.append(subprocess.Popen(command, env=os.environ | own, **pipes))
    said = [launch.communicate(timeout=500)[0] for launch in begun]
    assert [launch.returncode for launch in begun] == [0, 0], said
    tracker = Tracker(f"http://127.0.0.1:{server.port}")
    records = tracker.runs("tiny", kind="train")
    assert sorted((record.tags["asc.row"], record.status) for record in records) == [(n, "FINISHED") for n in "abcd"]
    for record in records:
        history = tracker.client.get_metric_history(record.run_id, "epoch/train_loss")
        assert [one.step for one in history] == list(range(1, EPOCHS + 1))
