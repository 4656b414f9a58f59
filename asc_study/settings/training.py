"""How a run is trained, and what is kept from training to choose by."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from asc_study.base.errors import shown
from asc_study.base.metric_table import ALL_CLIPS, DEFAULT_OBJECTIVE, require_objective
from asc_study.base.schema import Strict


class TrainingConfig(Strict):
    """SGD with warm restarts (section 5.2), or another optimiser and schedule.

    The cycles of the learning rate are ``first_cycle_epochs`` long, each ``cycle_multiplier`` times its predecessor: 2
    and 2 are the authors' code; the text names no lengths, a multiplier of 1 restarts regularly. With ``schedule:
    cosine`` there is one, as long as the training. In the first ``warmup_steps`` steps the rate rises to ``lr_max``
    along a line (2,000 in the baselines of DCASE 2024 and 2025, with ``adamw`` at 0.005). ``weight_decay`` is that of
    AdamW: what each step takes off every parameter, times the learning rate.

    ``data: development`` trains on all development data, the test split included: there is no validation and no test.
    ``subset`` trains, and cuts validation, of the clips of train that a list of the data set of this name has, such as
    ``split25``.
    ``devices`` trains on their clips alone, after validation is cut: the second stage of the baseline of DCASE 2025,
    which goes on from a general network. Their validation clips tell the best epoch; all clips are predicted.
    ``clip_fraction`` trains on that share of the train clips, drawn by scene and device: a search tries settings on it.
    ``select_epoch`` keeps the best epoch on validation (on the devices that training hears), the last one, or the
    mean output of the models at the last ``snapshots`` learning-rate minima (section 5.2, the final submission).
    ``select_by`` is the metric by which the best epoch is told: three quarters of the validation clips are of device A,
    so by default each device counts alike.
    ``batches: device`` keeps the features in the memory of the accelerator, where batches are made from the same drawn
    values as on the host.
    ``threads`` is the number of TensorFlow threads of the run: its results depend on it, so it is a setting and never
    follows from ``--jobs``.
    """

    data: Literal["train", "development"] = "train"
    subset: str | None = None
    devices: list[str] | None = None
    clip_fraction: float = Field(1, gt=0, le=1)
    batch_size: int = Field(32, ge=1, le=65536)
    balance_classes: bool = False
    epochs: int = Field(254, ge=1, le=100_000)
    lr_max: float = Field(0.1, gt=0)
    lr_min: float = Field(1e-5, ge=0)
    first_cycle_epochs: int = Field(2, ge=1)
    cycle_multiplier: int = Field(2, ge=1)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(1e-4, ge=0, lt=1)
    schedule: Literal["restarts", "cosine"] = "restarts"
    warmup_steps: int = Field(0, ge=0)
    select_epoch: Literal["best", "last", "snapshots"] = "best"
    select_by: str = DEFAULT_OBJECTIVE
    snapshots: int = Field(3, ge=1, le=100)
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    xla: bool | Literal["auto"] = "auto"
    batches: Literal["host", "device"] = "host"
    threads: int = Field(2, ge=1, le=1024)

    @model_validator(mode="after")
    def _check_learning_rate(self) -> Self:
        if self.lr_min >= self.lr_max:
            raise ValueError(
                f"training.lr_min must be below training.lr_max, got {self.lr_min} and {self.lr_max}: the learning "
                "rate falls from lr_max to lr_min in each cycle"
            )
        if self.subset is not None and self.data == "development":
            raise ValueError(
                f"training.subset names a part of train, got {shown(self.subset)} with training.data development: "
                "leave one of them out"
            )
        if self.select_epoch == "snapshots" and self.schedule == "cosine":
            raise ValueError(
                "training.select_epoch: snapshots needs cycles of the learning rate, got schedule cosine, which has "
                "one: set training.schedule to restarts, or select_epoch to best or last"
            )
        if self.select_epoch == "snapshots" and self.epochs < self.first_cycle_epochs:
            raise ValueError(
                "training.select_epoch: snapshots needs at least one whole cycle of the learning rate, got "
                f"{self.epochs} epochs with first_cycle_epochs {self.first_cycle_epochs}: train longer"
            )
        return self

    @field_validator("devices")
    @classmethod
    def _in_order(cls, devices: list[str] | None) -> list[str] | None:
        """The order in which devices are named means nothing."""
        if devices is None:
            return None
        if not devices:
            raise ValueError("training.devices must name at least one device, got []: leave it out to train on all")
        return sorted(set(devices))

    @field_validator("select_by")
    @classmethod
    def _check_metric(cls, name: str) -> str:
        return require_objective(name)

    @property
    def first_cycle(self) -> int:
        """Epochs of the first cycle of the learning rate."""
        return self.epochs if self.schedule == "cosine" else self.first_cycle_epochs

    def identity(self) -> dict[str, Any]:
        """Without snapshots where none are kept, the growth of cycles that never come, and parts of train that are all.

        Optimiser, schedule, warm-up and batches are left out where they are as before there was a choice, and with them
        what only the others have. The metric that the best epoch is chosen by is left out where none is
        chosen, and where it is ``acc_avg``: runs that were made before there was a choice went by it, and stay what
        they are.
        """
        settings = super().identity()
        if self.select_epoch != "best" or self.select_by == ALL_CLIPS.metric:
            del settings["select_by"]
        for part in ("subset", "devices"):
            if settings[part] is None:
                del settings[part]
        if self.select_epoch != "snapshots":
            del settings["snapshots"]
        del settings["momentum" if self.optimizer == "adamw" else "weight_decay"]
        if self.first_cycle >= self.epochs:
            del settings["cycle_multiplier"]
        if self.schedule == "cosine":
            del settings["first_cycle_epochs"]
        for name, before in (
            ("optimizer", "sgd"),
            ("schedule", "restarts"),
            ("warmup_steps", 0),
            ("batches", "host"),
        ):
            if settings[name] == before:
                del settings[name]
        return settings


class ValidationConfig(Strict):
    """How validation is cut from train: a share of the locations, and devices that training never hears.

    A share of 0 cuts no location.

    ``folds`` of 2 or more cross-validate by location instead: a run trains so many models, each without the locations
    of a fold, and its validation predictions are those of all training clips, each by the model that did not hear its
    location. ``final`` says what predicts other clips: the ``mean`` of these models, or one more that is trained on
    ``all`` training clips (its last epoch, as there is nothing to choose by).
    """

    share: float = Field(0.1, ge=0, lt=1)
    seed: int = Field(0, ge=0)
    holdout_devices: list[str] = []
    folds: int = Field(0, ge=0, le=100)
    final: Literal["mean", "all"] = "mean"

    @field_validator("folds")
    @classmethod
    def _check_folds(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("validation.folds must be at least 2, or 0 for one cut, got 1: write 5")
        return folds

    def identity(self) -> dict[str, Any]:
        """Without what has no effect; one cut is what it was before there were folds."""
        unused = ("share",) if self.folds else ("folds", "final")
        return {name: value for name, value in super().identity().items() if name not in unused}
