"""A search in a store, with or without its storage, for tests."""

from pathlib import Path

import optuna
import yaml

from asc_study.search.storage import quiet_optuna
from asc_study.store.tracking import Tracker

optuna.logging.set_verbosity(optuna.logging.ERROR)

SEARCH = {
    "search": "looked-at",
    "base": {
        "architecture": "fcnn",
        "batch_augmentation": {"mixup": {"alpha": 0.4}},
        "training": {"epochs": 3, "first_cycle_epochs": 3},
    },
    "space": {
        "batch_augmentation.mixup.alpha": {"type": "float", "low": 0.1, "high": 2.0, "log": True},
        "training.batch_size": {"type": "int", "low": 8, "high": 64},
        "batch_augmentation.spec_augment": {"type": "categorical", "choices": [None, {}]},
    },
}


def make_search(tracker: Tracker, storage: Path | None, *, trials: int = 4, log_trials: bool = True) -> optuna.Study:
    """A search of ``trials`` complete trials, one that failed and one that runs, and its runs in the store."""
    url = f"sqlite:///{storage}" if storage else None
    opened = url and url.replace("{", "{{").replace("}", "}}")  # Optuna takes it for a format
    study = optuna.create_study(storage=opened, study_name="looked-at", direction="maximize")
    with quiet_optuna():
        study.set_metric_names(["holdout/acc"])
    study.set_user_attr("asc.search", {"space": {}})
    for number in range(trials + 2):
        trial = study.ask()
        trial.suggest_float("batch_augmentation.mixup.alpha", 0.1, 2.0, log=True)
        trial.suggest_int("training.batch_size", 8, 64)
        trial.suggest_categorical("batch_augmentation.spec_augment", ["off", "on"])
        if number < trials:
            trial.report(0.4, 0)
            study.tell(trial, 0.5 + number / 100)
        elif number == trials:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
    tags = {"asc.study": "looked-at", "asc.kind": "search"}
    summary = tracker.create_run("looked-at", "search", tags, {})
    with tracker.artifacts(summary) as folder:
        (folder / "search.yaml").write_text(yaml.safe_dump(SEARCH), encoding="utf-8")
        if log_trials:
            (folder / "trials.csv").write_text(study.trials_dataframe().to_csv(index=False), encoding="utf-8")
    tracker.finish(summary)
    for number in range(trials + 1):
        told = {"asc.optuna_storage": url or "postgresql://host/x"}
        own = {"asc.kind": "trial", "asc.trial": str(number), "asc.row": f"trial {number}", **told}
        run = tracker.create_run("looked-at", f"trial {number}", tags | own, {})
        failed = number == trials
        tracker.finish(run, "FAILED" if failed else "FINISHED", failure="out of memory" if failed else "")
    return study
