"""What the runs of a study that are to be trained will take on a machine: the figures, and how they are shown."""

import os
from dataclasses import dataclass
from typing import Any

from asc_study.base.errors import InputError
from asc_study.base.progress import about_seconds
from asc_study.base.text_table import some, text_table
from asc_study.training.step_cost import StepCost
from asc_study.workers.pool import require_jobs


@dataclass(frozen=True)
class Machine:
    """What the study is to be trained on: ``speed`` times as fast as this machine, ``jobs`` runs at a time.

    Raises
    ------
    InputError
        If the speed is not above 0 or the jobs are below 1.
    """

    speed: float = 1.0
    jobs: int = 1

    def __post_init__(self) -> None:
        require_jobs(self.jobs, "runs to train at the same time")
        if not 0 < self.speed < float("inf"):
            raise InputError(
                f"--speed must be above 0, got {self.speed:g}: give how many times as fast a step is there as here"
            )


@dataclass(frozen=True)
class Kind:
    """Runs whose steps cost the same, since network, clip, batch and arithmetic are the same.

    Attributes
    ----------
    rows
        Their rows.
    runs
        How many runs are to be trained.
    batch
        Clips of a step.
    trainings, epochs, steps, predicted
        Models that these runs train, their epochs and optimiser steps, and clips that they predict (validation after
        each epoch, both splits at the end).
    longest_seconds
        Of the longest of these runs on this machine.
    checkpoint_bytes, logged_bytes
        The most that the checkpoint of one run takes, two of its files included, one of which replaces the other; and
        what all these runs leave in the store.
    cost
        What was measured.
    """

    rows: tuple[str, ...]
    runs: int
    batch: int
    trainings: int
    epochs: int
    steps: int
    predicted: int
    longest_seconds: float
    checkpoint_bytes: int
    logged_bytes: int
    cost: StepCost

    @property
    def seconds(self) -> float:
        """Of all its runs, one after the other, on this machine."""
        return seconds_of(self.cost, self.trainings, self.epochs, self.steps, self.predicted)


@dataclass(frozen=True)
class Estimate:
    """What the runs that are to be trained will take on a machine.

    Attributes
    ----------
    machine
        Which.
    kinds
        The runs by what a step of them costs.
    features_bytes
        Features that are not in the cache yet.
    """

    machine: Machine
    kinds: tuple[Kind, ...]
    features_bytes: int

    @property
    def hours(self) -> float:
        """One run after the other."""
        return sum(kind.seconds for kind in self.kinds) / self.machine.speed / 3600

    @property
    def hours_side_by_side(self) -> float:
        """With the machine's jobs; never less than the longest run."""
        longest = max((kind.longest_seconds for kind in self.kinds), default=0.0) / self.machine.speed / 3600
        return max(self.hours / self.machine.jobs, longest)

    @property
    def processes(self) -> int:
        """Runs that are trained at a time."""
        return min(self.machine.jobs, sum(kind.runs for kind in self.kinds))

    @property
    def memory_bytes(self) -> int:
        """Of all processes that train at a time."""
        return self.processes * max((kind.cost.peak_bytes for kind in self.kinds), default=0)

    @property
    def checkpoints_bytes(self) -> int:
        """Of the runs that are trained at a time; what is logged takes their place."""
        return self.processes * max((kind.checkpoint_bytes for kind in self.kinds), default=0)

    @property
    def logged_bytes(self) -> int:
        """What all runs leave in the store."""
        return sum(kind.logged_bytes for kind in self.kinds)

    @property
    def disk_bytes(self) -> int:
        """Features, checkpoints and what is logged."""
        return self.features_bytes + self.checkpoints_bytes + self.logged_bytes

    @property
    def assumptions(self) -> list[str]:
        """What the figures rest on: a line each."""
        machine, cores = self.machine, os.cpu_count() or 1
        there = "" if machine.speed == 1 else f", divided by {machine.speed:g} for that machine"
        several = (
            f"{machine.jobs} runs at a time neither hinder each other nor wait for each other; this machine has "
            f"{cores} cores"
        )
        return [
            f"a step takes the median of some that were timed just now on clips of noise{there}, and so does a "
            "prediction; trainings and epochs begin as fast as these steps did; what else this machine did is in them",
            "augmentations that leave clips of the same shape take the same time; features are read from memory",
            *([several] if machine.jobs > 1 else []),
            "memory is the most that the process of these steps had, with all that it imported; not in it are that of "
            "an accelerator and files of features that the system keeps in memory while there is room",
            "not counted: making features and augmented copies, ensembles, systems, and what is evaluated and logged "
            "after a run's last epoch; counted in full: augmented copies, as if the cache had none, and runs that were "
            "cut off",
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything in the types of JSON."""
        kinds = [
            {
                "rows": list(kind.rows),
                "runs": kind.runs,
                "batch": kind.batch,
                "steps": kind.steps,
                "predicted_clips": kind.predicted,
                "start_seconds": kind.cost.start_seconds / self.machine.speed,
                "step_seconds": kind.cost.step_seconds / self.machine.speed,
                "epoch_seconds": kind.cost.epoch_seconds / self.machine.speed,
                "prediction_seconds": kind.cost.clip_seconds / self.machine.speed,
                "memory_bytes": kind.cost.peak_bytes,
                "hours": kind.seconds / self.machine.speed / 3600,
            }
            for kind in self.kinds
        ]
        return {
            "speed": self.machine.speed,
            "jobs": self.machine.jobs,
            "kinds": kinds,
            "hours": self.hours,
            "hours_side_by_side": self.hours_side_by_side,
            "memory_bytes": self.memory_bytes,
            "disk_bytes": {
                "features": self.features_bytes,
                "checkpoints": self.checkpoints_bytes,
                "logged": self.logged_bytes,
                "all": self.disk_bytes,
            },
            "assumptions": self.assumptions,
        }

    def render(self) -> str:
        """A line for each kind of run, the totals, and what they rest on."""
        if not self.kinds:
            return "estimate: nothing is to be trained"
        speed = self.machine.speed
        table = [["Rows", "Runs", "Batch", "Steps", "s/start", "ms/step", "ms/clip predicted", "Memory", "Time"]]
        for kind in self.kinds:
            step, clip = (1000 * seconds / speed for seconds in (kind.cost.step_seconds, kind.cost.clip_seconds))
            table.append(
                [
                    some(kind.rows),
                    str(kind.runs),
                    str(kind.batch),
                    f"{kind.steps:,}",
                    f"{kind.cost.start_seconds / speed:.1f}",
                    f"{step:.3g}",
                    f"{clip:.3g}",
                    _size(kind.cost.peak_bytes),
                    about_seconds(kind.seconds / speed),
                ]
            )
        at_once = f"{self.processes} at a time" if self.processes > 1 else "one at a time"
        return "\n".join(
            [
                f"estimate by steps timed here{'' if speed == 1 else f', for a machine {speed:g} times as fast'}:",
                text_table(table),
                f"hours: {self.hours:.3g} one run after the other, {self.hours_side_by_side:.3g} with "
                f"--jobs {self.machine.jobs}",
                f"disk: {_size(self.disk_bytes)}: features {_size(self.features_bytes)}, checkpoints "
                f"{_size(self.checkpoints_bytes)}, logged {_size(self.logged_bytes)}",
                f"memory: {_size(self.memory_bytes)}, {at_once}",
                *(f"assumed: {line}" for line in self.assumptions),
            ]
        )


def seconds_of(cost: StepCost, trainings: int, epochs: int, steps: int, predicted: int) -> float:
    """Of trainings with so many epochs and steps in all, of which each first one compiles, and predicted clips."""
    first = trainings * (cost.start_seconds - cost.step_seconds)
    return first + epochs * cost.epoch_seconds + steps * cost.step_seconds + predicted * cost.clip_seconds


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
