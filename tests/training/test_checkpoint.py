"""The files of an unfinished training: written once, found whatever a kill interrupts, and nobody else's."""

import copy
import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest

from asc_study.training import checkpoint as checkpoint_module
from asc_study.training.checkpoint import TrainingState, load_checkpoint, save_checkpoint

FILE = Path("run.npz")


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def model() -> keras.Model:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(500), keras.layers.Dropout(0.5)])
    model.compile(keras.optimizers.Adam(), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


def train(model: keras.Model, state: TrainingState, *, keep: bool, drop: int | None = None) -> TrainingState:
    """One more epoch: other weights, which are kept or not, and an older epoch that no longer is."""
    epoch = len(state.history)
    rng = np.random.default_rng(epoch)
    model.set_weights([rng.standard_normal(weight.shape) for weight in model.get_weights()])
    state.history.append({"train_loss": 1.0 / (epoch + 1)})
    if keep:
        state.kept[epoch] = model.get_weights()
    if drop is not None:
        del state.kept[drop]
    return state


def assert_same(found: TrainingState, state: TrainingState) -> None:
    assert found.history == state.history
    assert list(found.kept) == list(state.kept)
    for epoch, weights in state.kept.items():
        for one, other in zip(found.kept[epoch], weights, strict=True):
            np.testing.assert_array_equal(one, other)


def files() -> set[str]:
    return {file.name for file in Path().iterdir()}


def test_kept_weights_are_written_once_and_go_when_no_state_names_them(
    model: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    rename = Path.replace

    def replace(path: Path, target: Path) -> Path:
        written.append(target.name)
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    state = TrainingState()
    for keep in (True, False, True, False, False):
        save_checkpoint(FILE, model, train(model, state, keep=keep))
        assert_same(load_checkpoint(FILE, model), state)
    kept = [name for name in written if name != FILE.name]
    assert [name[: len("run.kept-0")] for name in kept] == ["run.kept-0", "run.kept-2"]
    assert files() == {FILE.name, *kept}
    save_checkpoint(FILE, model, train(model, state, keep=False, drop=0))
    assert files() == {FILE.name, kept[1]}


def test_a_state_that_was_read_does_not_write_its_weights_again(model: keras.Model) -> None:
    state = TrainingState()
    for keep in (True, False):
        save_checkpoint(FILE, model, train(model, state, keep=keep))
    (kept,) = files() - {FILE.name}
    os.utime(kept, (0, 0))
    state = load_checkpoint(FILE, model)
    save_checkpoint(FILE, model, train(model, state, keep=False))
    assert Path(kept).stat().st_mtime == 0
    assert_same(load_checkpoint(FILE, model), state)


def test_the_bytes_of_an_epoch_do_not_grow_with_what_is_kept(model: keras.Model) -> None:
    state = TrainingState()
    sizes = []
    for _ in range(6):
        save_checkpoint(FILE, model, train(model, state, keep=True))
        sizes.append(FILE.stat().st_size)
    assert max(sizes) - min(sizes) < 2000  # text; the weights of an epoch are 8,000 bytes


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("call", range(8))
def test_a_kill_at_any_moment_leaves_a_state_with_its_weights(
    model: keras.Model, monkeypatch: pytest.MonkeyPatch, moment: str, call: int
) -> None:
    """Killed before or after the call-th change of a file's name, or its removal."""
    changes = 0

    def deadly(change):
        def called(path: Path, *args, **options):
            nonlocal changes
            if path.suffix != ".npz" or not alive:
                return change(path, *args, **options)
            changes += 1
            if changes == call + 1 and moment == "before":
                raise Killed
            result = change(path, *args, **options)
            if changes == call + 1:
                raise Killed
            return result

        return called

    plan = [(True, None), (False, None), (True, 0), (False, None)]  # the best so far, then a better one
    states, state, alive = [TrainingState()], TrainingState(), True
    with monkeypatch.context() as patched:
        for name in ("replace", "unlink"):
            patched.setattr(Path, name, deadly(getattr(Path, name)))
        try:
            for keep, drop in plan:
                train(model, state, keep=keep, drop=drop)
                states.append(copy.deepcopy(state))
                save_checkpoint(FILE, model, state)
        except Killed:
            alive = False
    found = load_checkpoint(FILE, model)
    assert len(states) - 2 <= len(found.history) <= len(states) - 1
    assert_same(found, states[len(found.history)])
    for keep, drop in plan[len(found.history) :]:
        save_checkpoint(FILE, model, train(model, found, keep=keep, drop=drop))
    assert_same(load_checkpoint(FILE, model), found)
    assert len(files()) == 2


def test_a_checkpoint_of_another_run_is_refused_with_a_line(
    model: keras.Model, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(FILE, model, train(model, TrainingState(), keep=True), "0123456789abcdef")
    assert load_checkpoint(FILE, model, "0123456789abcdef").history
    assert capsys.readouterr().err == ""
    assert load_checkpoint(FILE, model, "fedcba9876543210") == TrainingState()
    expected = "the checkpoint run.npz is of another run (0123456789, this is fedcba9876): the run starts again\n"
    assert capsys.readouterr().err == expected


def test_a_checkpoint_of_an_earlier_version_is_refused_with_a_line(
    model: keras.Model, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(FILE, state=np.asarray(json.dumps({"history": [{}], "kept": []})), variable_0=np.zeros(3))
    assert load_checkpoint(FILE, model) == TrainingState()
    expected = "the checkpoint run.npz is of another version (form 1, here 2): the run starts again\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_kept_weights_that_a_disk_lost_start_the_run_again(
    model: keras.Model, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    state = TrainingState()
    for keep in (True, False):
        save_checkpoint(FILE, model, train(model, state, keep=keep))
    (kept,) = (Path(name) for name in files() - {FILE.name})
    if damage == "gone":
        kept.unlink()
    else:
        kept.write_bytes(kept.read_bytes()[:-30])
    before = model.get_weights()
    assert load_checkpoint(FILE, model) == TrainingState()
    assert "the checkpoint run.npz is damaged (" in capsys.readouterr().err
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_run_that_goes_on_with_other_code_says_so(
    model: keras.Model, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_module, "_here", lambda: {"commit": "abc", "keras": "3.9.0"})
    save_checkpoint(FILE, model, train(model, TrainingState(), keep=True))
    monkeypatch.setattr(checkpoint_module, "_here", lambda: {"commit": "abc", "keras": "3.10.0"})
    assert len(load_checkpoint(FILE, model).history) == 1
    expected = "note: the run goes on from run.npz, which other code computed (keras 3.9.0, here 3.10.0)\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("which", ["state", "kept"])
@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), PermissionError(13, "denied"), MemoryError()], ids=repr
)
def test_what_cannot_be_read_at_the_moment_is_not_damaged(
    model: keras.Model,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    which: str,
) -> None:
    state = TrainingState()
    for keep in (True, False):
        save_checkpoint(FILE, model, train(model, state, keep=keep))
    read, (kept,) = Path.read_bytes, files() - {FILE.name}

    def refuse(path: Path) -> bytes:
        if path.name == (FILE.name if which == "state" else kept):
            raise error
        return read(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", refuse)
        with pytest.raises(type(error)):
            load_checkpoint(FILE, model)
    assert_same(load_checkpoint(FILE, model), state)
    assert not capsys.readouterr().err


def test_a_shape_that_was_changed_asks_for_no_memory(model: keras.Model, capsys: pytest.CaptureFixture[str]) -> None:
    save_checkpoint(FILE, model, train(model, TrainingState(), keep=False))
    content = FILE.read_bytes()
    FILE.write_bytes(content.replace(b"(3, 500)", b"(3, 999)"))
    assert FILE.read_bytes() != content
    assert load_checkpoint(FILE, model).history == []
    assert "is damaged (variable_" in capsys.readouterr().err
