"""An ensemble and how it was chosen: as text, as JSON, and as a run of the store with figures."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from asc_study.base.contract import Artifact, Tag
from asc_study.base.metric_table import BY_NAME, Metric, columns_among, require_objective
from asc_study.base.text_table import text_table
from asc_study.ensemble.candidates import Step
from asc_study.ensemble.crossfit import describe
from asc_study.evaluation.accuracy_table import cell, figure
from asc_study.evaluation.metrics import evaluate
from asc_study.figures.ensemble import overlap_figure, path_figure
from asc_study.store.tracking import Tracker
from asc_study.systems.derived import Derived, Logged, log_derived
from asc_study.systems.ensembles import (
    BudgetOptions,
    Ensemble,
    EnsembleOptions,
    ensemble_identity,
    path_frame,
    steps_of,
)
from asc_study.systems.members import fusion_json


def log_ensemble(tracker: Tracker, study: str, name: str, ensemble: Ensemble) -> Logged:
    """Log an ensemble as a run of kind ``ensemble``: members, path, overlap, predictions, figures."""
    options, selection = ensemble.options, ensemble.selection
    names = [member.name for member in ensemble.candidates]
    path, cross_fitted = path_frame(ensemble), ensemble.basis == "cross-fitted"
    candidates = pd.DataFrame([asdict(candidate) for candidate in selection.candidates])
    split = "validation" if ensemble.basis == "validation" else "test"
    shown = {Tag.TEST_SHOWN: "true"} if ensemble.prefixes else {}
    steps = [
        {f"path/{key}": value for key, value in measured.items() if not np.isnan(value)}
        | {f"path/{metric.replace('/', '_')}": value for metric, value in metrics.items() if metric.startswith("test/")}
        for measured, (_, metrics) in zip(
            path[["score", "log_loss", "overlap", "both_wrong"]].to_dict("records"), steps_of(ensemble), strict=True
        )
    ]
    derived = Derived(
        identity=ensemble_identity(options, [member.record for member in ensemble.candidates]),
        study=study,
        name=name,
        task=ensemble.members[0].task,
        system=f"{options.fusion} of {len(ensemble.members)}" + (", cross-fitted" if cross_fitted else ""),
        members=[member.record for member in ensemble.members],
        tables=ensemble.tables,
        tags={Tag.BASIS: ensemble.basis, **shown},
        metrics={"ensemble/members": len(ensemble.members), "ensemble/candidates": len(names)},
        path=steps,
        files={
            Artifact.PATH: path.to_csv(index=False),
            Artifact.CANDIDATES: candidates.to_csv(index=False),
            Artifact.OVERLAP: ensemble.overlap.to_frame(names).to_csv(index=False),
            Artifact.FUSION: fusion_json(ensemble.fusion, ensemble.basis, ensemble.members),
            Artifact.MEMBERS: pd.Series(selection.weights()).to_json(indent=2),
        },
        figures=[
            path_figure(path, candidates, _metric(options), f"{split}: {_where(ensemble)}", explanation(ensemble)),
            overlap_figure(ensemble.overlap, names, split),
        ],
    )
    logged = log_derived(tracker, derived)
    if logged.existed and shown:
        tracker.set_tags(logged.run_id, shown)
    return logged


def to_dict(ensemble: Ensemble) -> dict[str, Any]:
    """The choice in the types of JSON."""
    path = json.loads(path_frame(ensemble).to_json(orient="records", double_precision=15))
    weights = ensemble.selection.weights()
    return {
        "basis": ensemble.basis,
        "options": asdict(ensemble.options),
        "candidates": [member.name for member in ensemble.candidates],
        "members": [{"name": m.name, "run_id": m.record.run_id, "weight": weights[m.name]} for m in ensemble.members],
        "clips": ensemble.clips,
        "locations": ensemble.locations,
        "noise": ensemble.selection.noise,
        "path": path,
        "ended": ensemble.selection.ended,
        "learned": dict(ensemble.fusion.learned),
        "notes": list(ensemble.notes),
    }


def render(ensemble: Ensemble, study: str) -> str:
    """The choice as text: what decided, what is noise, the path, why it ended; test figures only if they are shown."""
    options, metric = ensemble.options, _metric(ensemble.options)
    how = "on validation" if ensemble.basis == "validation" else "cross-fitted over test"
    unit = " (%)" if metric.unit == "share" else ""
    lines = [["Step", "Added", f"{metric.name}{unit}", "Change [95 %]", "Log loss", "Overlap (%)", "Both wrong (%)"]]
    columns = columns_among(name for metrics in ensemble.prefixes for name in metrics)
    shown = [column for column in columns if any(column.test_name in metrics for metrics in ensemble.prefixes)]
    lines[0] += [f"test: {shown[0].heading}", *(column.heading for column in shown[1:])] if shown else []
    before = None
    for number, (step, metrics) in enumerate(steps_of(ensemble), 1):
        cells = _step_cells(step, before, metric)
        lines.append([str(number), *cells, *(cell(column, figure(metrics, column)) for column in shown)])
        before = step
    result = evaluate(ensemble.tables["test"], intervals=False) if shown else {}
    cells = [cell(column, figure(result, column)) for column in shown]
    if cells != lines[-1][7:]:  # fused by another rule, or the folds' paths are longer
        lines.append(["", f"result ({options.fusion})", *[""] * 5, *cells])
    text = [
        f"Ensemble of study {study}: {options.method}, {len(ensemble.candidates)} candidates, {metric.name} {how} "
        f"({_where(ensemble)})",
        _noise_line(ensemble),
        text_table(lines, left=(0, 1)),
        "change: of the mean by this member; log loss: of the mean, at its best temperature; overlap and both wrong: "
        "this member and those before",
        f"ended: {ensemble.selection.ended}",
    ]
    if ensemble.basis == "cross-fitted":
        text.append(
            "no validation predictions: members and scores of the path are those on all test clips; the test figures "
            "are cross-fitted, each location's by members chosen on others"
        )
    if options.fusion != "average" or options.method == "caruana":
        text.append(f"{options.fusion}: {describe(ensemble.fusion.learned) or 'nothing to learn'}")
    if not ensemble.prefixes and "test" in ensemble.tables:
        text.append(
            "test accuracy: in the run, once you have chosen; --show-test prints that of every step, and tags the run"
        )
    return "\n".join([*text, *(f"note: {note}" for note in ensemble.notes)])


def explanation(ensemble: Ensemble) -> str:
    """The choice in one sentence."""
    path, metric = ensemble.selection.path, _metric(ensemble.options)
    left = len(ensemble.candidates) - len(ensemble.members)
    change = _number(path[-1].score - path[0].score, metric, signed=True)
    noise = ensemble.selection.noise
    said = f", where less than {_number(noise, metric)} is noise" if noise is not None else ""
    if len(path) == 1:
        return f"{path[0].added} stands alone: {ensemble.selection.ended}."
    overlaps = [step.overlap for step in path[1:]]
    low, high = 100 * min(overlaps), 100 * max(overlaps)
    alike = f"{low:.0f}" if round(low) == round(high) else f"{low:.0f} to {high:.0f}"
    return (
        f"{path[0].added} was joined by {len(ensemble.members) - 1} of the other {len(ensemble.candidates) - 1} "
        f"systems, which decide like those before them on {alike} % of the clips; that changed {metric.name} by "
        f"{change}{said}" + (f"; {left} were not taken." if left else ".")
    )


def _where(ensemble: Ensemble) -> str:
    return f"{ensemble.clips} clips of {ensemble.locations} locations"


def _metric(options: EnsembleOptions | BudgetOptions) -> Metric:
    return BY_NAME[require_objective(options.metric)]


def _noise_line(ensemble: Ensemble) -> str:
    noise, metric = ensemble.selection.noise, _metric(ensemble.options)
    if noise is None:
        return "all clips are of one location: what is noise cannot be told"
    return f"differences of {metric.name} below about {_number(noise, metric)} between two systems are noise (95 %)"


def _number(value: float, metric: Metric, *, signed: bool = False) -> str:
    """A difference of a metric for people: in points, or in its own unit."""
    sign = "+" if signed else ""
    return f"{metric.factor * value:{sign}.{_digits(metric)}f} {'points' if metric.unit == 'share' else metric.unit}"


def _digits(metric: Metric) -> int:
    """Decimals of a difference: one more than of a value where values have two."""
    return 1 if metric.unit == "share" else 3


def _step_cells(step: Step, before: Step | None, metric: Metric) -> list[str]:
    scale, digits = metric.factor, _digits(metric)
    change = "-" if before is None else f"{scale * (step.score - before.score):+.{digits}f}"
    if step.low is not None and step.high is not None:
        change += f" [{scale * step.low:+.{digits}f}, {scale * step.high:+.{digits}f}]"
    shares = ["-" if np.isnan(share) else f"{100 * share:.1f}" for share in (step.overlap, step.both_wrong)]
    return [step.added, f"{scale * step.score:.{digits}f}", change, f"{step.log_loss:.3f}", *shares]
