"""Search files: what is read, what a point and a fold of it are, what is refused."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from asc_study.base.errors import InputError
from asc_study.base.metric_table import direction
from asc_study.search.file import load_search
from asc_study.search.objective import OBJECTIVES
from asc_study.search.sampler import make_pruner, make_sampler

ALPHA = "batch_augmentation.mixup.alpha"
CROP = "batch_augmentation.random_crop"
SPACE = {ALPHA: {"type": "float", "low": 0.1, "high": 1.0}}
STUDIES = Path(__file__).parents[2] / "studies"


def load(profile: str | None = None, overrides: tuple[str, ...] = (), **content):
    path = Path("s.yaml")
    path.write_text(yaml.safe_dump({"search": "s", "space": SPACE} | content))
    return load_search(path, profile=profile, overrides=overrides)


@pytest.mark.parametrize("name", ["mixup_masks", "augmentation_set", "small_model", "unseen_devices", "student"])
@pytest.mark.parametrize("profile", [None, "small"])
def test_shipped_searches_resolve(name: str, profile: str | None):
    search = load_search(STUDIES / f"search_{name}.yaml", profile=profile)
    assert search.holds_out
    assert search.corners()


def test_defaults():
    search = load()
    assert [(t.name, t.metric, t.direction) for t in search.objectives] == [("holdout", "holdout/acc", "maximize")]
    assert search.holdout.model_dump() == {"devices": ["s3", "b"], "mode": "in_turn"}
    assert search.final_seeds == (0, 1, 2)
    assert (search.sampler.name, search.sampler.seed, search.pruner.name) == ("tpe", 0, "none")


def test_folds_leave_one_device_out_in_turn_or_all_together():
    search = load()
    folds = search.folds(search.config({ALPHA: 0.2}))
    assert {name: fold.validation.holdout_devices for name, fold in folds.items()} == {"s3": ["s3"], "b": ["b"]}
    assert all(fold.batch_augmentation["mixup"].alpha == 0.2 for fold in folds.values())
    together = load(holdout={"devices": ["s3", "b"], "mode": "together"})
    (fold,) = together.folds(together.config({})).values()
    assert fold.validation.holdout_devices == ["b", "s3"]
    other = load(objectives=["validation/log_loss"])
    assert other.folds(other.config({})) == {"": other.config({})}


def test_fidelity_is_for_trials_and_profile_and_set_win_over_it():
    content = {
        "base": {"training": {"epochs": 30}},
        "fidelity": {"epochs": 6, "clip_fraction": 0.5, "width": 0.25},
        "profiles": {"small": {"training": {"epochs": 2}}},
    }
    search = load(**content)
    trial, full = search.config({}), search.config({}, full=True)
    assert (trial.training.epochs, trial.training.clip_fraction, trial.model.width) == (6, 0.5, 0.25)
    assert (full.training.epochs, full.training.clip_fraction, full.model.width) == (30, 1, 1)
    assert load("small", **content).config({}).training.epochs == 2
    assert load("small", ("training.epochs=3",), **content).config({}).training.epochs == 3


def test_a_profile_changes_augmentations_that_the_point_uses_and_no_drawn_value():
    content = {
        "space": SPACE | {CROP: {"type": "categorical", "choices": [None, {}]}},
        "profiles": {"small": {"batch_augmentation": {"random_crop": {"frames": 50}, "mixup": {"alpha": 9.0}}}},
    }
    search = load("small", **content)
    switched_on = search.config({ALPHA: 0.2, CROP: "on"})
    assert switched_on.model_dump()["batch_augmentation"] == {"mixup": {"alpha": 0.2}, "random_crop": {"frames": 50}}
    assert search.config({ALPHA: 0.2, CROP: "off"}).model_dump()["batch_augmentation"] == {"mixup": {"alpha": 0.2}}


def test_identity_names_what_must_not_change():
    identity = load().identity("d1")
    assert identity["objectives"] == [["holdout", "maximize"]]
    assert identity["settings"]["training.epochs"] == 254
    assert load(sampler={"name": "random", "seed": 7}).identity("d1") == identity
    assert load(base={"training": {"epochs": 3}}).identity("d1") != identity
    assert load().identity("d2") != identity


def test_identity_names_a_profiles_settings_of_parts_that_the_base_leaves_off():
    content = {
        "space": {CROP: {"type": "categorical", "choices": [None, {}]}},
        "profiles": {
            name: {"batch_augmentation": {"random_crop": {"frames": n}}} for name, n in {"a": 50, "b": 60}.items()
        },
    }
    one, other = (load(name, **content).identity("d1") for name in ("a", "b"))
    assert one["settings"] == other["settings"]
    assert one["profile"] != other["profile"]


#: Opens the Optuna study of a search, as a launch does, in a process that has read the parts' modules as they are now.
OPEN = """
from pathlib import Path
from asc_study.search.file import load_search
from asc_study.search.storage import open_study, storage_url
search = load_search(Path("own.yaml"))
open_study(storage_url(), search.name, {"holdout/acc": "maximize"}, search.identity("d1"))
"""


def test_a_search_is_refused_when_the_code_behind_it_changed(isolated: Path):
    """The code of a part that the base leaves off too."""
    shutil.copy(STUDIES / "examples" / "own_augmentations.py", isolated)
    part = isolated / "own_augmentations.py"
    space = {"batch_augmentation.own_augmentations:Gain": {"type": "categorical", "choices": [None, {}]}}
    Path("own.yaml").write_text(yaml.safe_dump({"search": "own", "space": space}))

    def launch() -> str:
        done = subprocess.run([sys.executable, "-c", OPEN], capture_output=True, text=True)
        return done.stderr.strip().rpartition("\n")[2]

    assert launch() == ""
    text = part.read_text()
    part.write_text(text.replace("Scale the features of each clip", "Make each clip louder or softer"))
    assert launch() == ""
    part.write_text(text.replace("1 + self.spread", "1 + 2 * self.spread"))
    message = (
        r"the search 'own' in .* was begun with other code: code\.batch_augmentation own_augmentations:Gain was \w{12}"
    )
    assert re.search(message, launch())


def test_every_objective_has_a_direction_of_its_own():
    assert {direction(metric) for metric in OBJECTIVES if "acc" in metric} == {"maximize"}
    assert {direction(metric) for metric in OBJECTIVES if "acc" not in metric} == {"minimize"}
    (objective,) = load(objectives=["validation/log_loss"]).objectives
    assert objective.direction == "minimize"


@pytest.mark.parametrize("name", ["random", "tpe", "nsga2", "cmaes"])
def test_a_trial_is_drawn_from_a_seed_of_its_own(name: str):
    """Whether one process draws all trials or each is drawn by another makes no difference."""
    import optuna

    def drawn(seed: int, *, processes: bool) -> list[float]:
        search = load(sampler={"name": name, "seed": seed})
        study = optuna.create_study(sampler=make_sampler(search.sampler, search.space))
        values = []
        for _ in range(4):
            trial = study.ask()
            values.append(trial.suggest_float(ALPHA, 0.1, 1.0))
            study.tell(trial, values[-1])
            if processes:
                study.sampler = make_sampler(search.sampler, search.space)
        return values

    values = drawn(3, processes=False)
    assert values == drawn(3, processes=True)
    assert values != drawn(4, processes=False)
    assert len(set(values)) == 4


def test_all_processes_shuffle_a_grid_alike():
    search = load(sampler={"name": "grid", "seed": 3}, space={ALPHA: SPACE[ALPHA] | {"step": 0.1}})
    first, second = (make_sampler(search.sampler, search.space) for _ in range(2))
    assert first._all_grids == second._all_grids


def test_hyperband_knows_the_longest_trial():
    search = load(pruner={"name": "hyperband", "min_resource": 2})
    assert make_pruner(search.pruner, 28)._max_resource == 28


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"sampler": {"name": "cmaes"}, "objectives": ["holdout", "cost/macs"]},
            "'cmaes' knows one objective only, got",
        ),
        (
            {"objectives": ["cost/macs"], "fidelity": {"width": 0.5}},
            "`fidelity.width` would make 'cost/macs' that of a th",
        ),
        (
            {"pruner": {"name": "hyperband", "max_resource": 2, "min_resource": 4}},
            "must be at least min_resource, got 2",
        ),
        ({"pruner": {"name": "hyperband", "max_resource": 0}}, "must be at least 1, got 0"),
        ({"pruner": {"name": "hyperband", "min_resource": 999}}, r"at most the epochs of a trial \(254\), got 999"),
        ({"holdout": {"devices": ["s3", "s3"]}}, "holdout.devices must be different"),
        ({"search": "a b"}, r"`search` must be at most 100 letters"),
        ({"validation": {"share": 0.3}}, r"got 'validation': put it under `base`"),
        ({"objectiv": []}, r"unknown key 'objectiv': did you mean 'objectives'"),
        ({"space": {}}, r"`space` must name at least one parameter"),
        ({"objectives": ["holdoutt"]}, r"unknown objective 'holdoutt': did you mean 'holdout'"),
        ({"objectives": ["test/acc_avg"]}, r"nothing is chosen on the test split, got the objective 'test/acc_avg'"),
        ({"objectives": ["device/acc_s4"]}, r"nothing is chosen on the test split"),
        ({"objectives": ["gap/A_to_unseen"]}, r"nothing is chosen on the test split"),
        ({"objectives": ["holdout", "holdout/acc"]}, r"'holdout/acc' is given twice"),
        ({"objectives": []}, r"objectives"),
        ({"sampler": {"name": "tpee"}}, r"unknown `sampler\.name`, got 'tpee': did you mean 'tpe'"),
        ({"sampler": {"name": "tpe", "n_startup": 3}}, r"unknown key 'sampler\.n_startup'.*'n_startup_trials'"),
        ({"sampler": {"name": "grid"}}, r"the sampler 'grid' needs a `step`"),
        ({"pruner": {"name": "median", "warmup": 3}}, r"unknown key 'pruner\.warmup'"),
        (
            {"pruner": {"name": "median"}, "objectives": ["holdout", "cost/model_kb"]},
            r"pruned by one objective only, got the pruner 'median' with 2 objectives",
        ),
        ({"fidelity": {"clip_fraction": 0}}, r"`fidelity\.clip_fraction` must be above 0\.0, got 0"),
        (
            {"fidelity": {"width": 0.5}, "space": {"model.width": {"type": "float", "low": 0.1, "high": 1}}},
            r"`fidelity` sets 'model\.width', which is searched",
        ),
        ({"holdout": {"devices": ["s33"]}}, r"unknown validation\.holdout_devices 's33': did you mean 's3'"),
        ({"base": {"validation": {"holdout_devices": ["b"]}}}, r"validation\.holdout_devices is set by `holdout`"),
        ({"base": {"training": {"data": "development"}}}, r"a search needs a validation split"),
        ({"base": {"validation": {"folds": 5}}}, r"on one cut of validation, got validation\.folds 5: remove it"),
        ({"base": {"validation": {"share": 0}}}, r"a search needs a validation split"),
        ({"base": {"training": {"epoch": 3}}}, r"base: unknown key 'training\.epoch'"),
        (
            {"space": {ALPHA: {"type": "float", "low": -0.5, "high": 1.0}}},
            r"s\.yaml: alpha=-0\.5: `batch_augmentation\.mixup\.alpha` must be above 0\.0, got -0\.5",
        ),
        ({"space": {"training.epoch": {"type": "int", "low": 1, "high": 3}}}, r"unknown key 'training\.epoch'"),
        ({"budget": {"trials": 0}}, r"`budget\.trials` must be at least 1, got 0"),
        ({"final": {"seeds": [0, 0]}}, r"final\.seeds must be different"),
    ],
)
def test_bad_searches_are_one_line(content, message):
    with pytest.raises(InputError, match=message) as caught:
        load(**content)
    assert "\n" not in str(caught.value)


def test_an_unknown_profile_and_a_setting_that_is_searched_are_refused():
    with pytest.raises(InputError, match=r"has no profile 'big': known: small-data"):
        load("big")
    with pytest.raises(InputError, match=r"--set sets 'batch_augmentation\.mixup\.alpha', which is searched"):
        load(overrides=(f"{ALPHA}=0.3",))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("asc_study.search.sampler.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"'gp' needs the package torch, which is not installed: pip install torch"):
        load(sampler={"name": "gp"})


@pytest.mark.parametrize("key", ["seed: 4294967296", "final: {seeds: [0, 4294967296]}", "final: {seeds: [-1]}"])
def test_seeds_are_those_that_the_libraries_take(key):
    path = Path("search.yaml")
    path.write_text(f"search: s\nspace: {{training.lr_max: {{type: float, low: 0.01, high: 0.1}}}}\n{key}\n")
    with pytest.raises(InputError, match="below 4294967296, got"):
        load_search(path)
