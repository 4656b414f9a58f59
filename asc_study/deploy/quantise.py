"""From a trained network to a small ``.tflite`` file that is proven on the clips of its data set."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from asc_study.base.contract import Artifact, Tag
from asc_study.base.errors import InputError
from asc_study.base.files import require_writable, write_file
from asc_study.data.identified import IdentifiedDataset
from asc_study.deploy.proof import (
    HeardClips,
    agreement,
    changes,
    float_tables,
    hear,
    latency_ms,
    predict_tflite,
)
from asc_study.deploy.sources import Source, find_source, is_file
from asc_study.deploy.tflite import TfliteFile, convert, inspect, require_scheme
from asc_study.evaluation.measure import measure
from asc_study.evaluation.significance import Comparison, compare
from asc_study.evaluation.significance import render as render_comparison
from asc_study.figures.ensemble import change_figure
from asc_study.settings.system_rows import Scheme, quantised_name
from asc_study.store.queries import Reader
from asc_study.store.records import RunRecord
from asc_study.store.tracking import Tracker
from asc_study.systems.deployed import quantised_identity
from asc_study.systems.derived import Derived, Logged, existing, find_derived, log_derived

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Quantised:
    """A network as a ``.tflite`` file.

    Attributes
    ----------
    source, scheme
        What was converted, and how.
    content
        The file.
    file
        What stands in it.
    costs
        Metrics ``cost/...``.
    tables, before
        Predictions by split of the file and of its source; empty if it was proven on no clips.
    logged
        Its run; a file's has none.
    """

    source: Source
    scheme: str
    content: bytes
    file: TfliteFile
    costs: Mapping[str, float]
    tables: Mapping[str, pd.DataFrame]
    before: Mapping[str, pd.DataFrame]
    logged: Logged | None = None

    @property
    def agreement(self) -> dict[str, float]:
        """Share of the clips of each split that both decide alike."""
        return {split: agreement(self.before[split], table) for split, table in self.tables.items()}

    @property
    def comparison(self) -> Comparison | None:
        """Paired comparison with the source, on test if there are such clips."""
        split = next((known for known in ("test", "validation") if known in self.tables), None)
        return compare([self.before[split]], [self.tables[split]]) if split else None


def quantise(
    tracker: Tracker | None,
    reference: str,
    scheme: str,
    *,
    data: Path | IdentifiedDataset | None = None,
    like: str | None = None,
    jobs: int = 1,
) -> Quantised:
    """Convert a network, prove it, and log it as a run linked to its source; one that is there already is found.

    Parameters
    ----------
    tracker, reference, like
        See `find_source`.
    scheme
        One of `asc_study.deploy.tflite.SCHEMES`.
    data
        The data set that a run was trained on, to prove the file and to calibrate int8; without it nothing is logged.
    jobs
        Processes for features and predictions.

    Raises
    ------
    InputError
        If the source, the scheme or the data is wrong.
    """
    require_scheme(scheme)
    source = find_source(tracker, reference, like=like)
    if tracker and source.record and (found := find_quantised(tracker, source.record, scheme)):
        return _found(tracker, source, source.record, scheme, found)
    heard = hear(source, data, jobs=jobs) if data else None
    model = source.load()
    shape = _input_shape(source, heard)
    content = convert(model, shape, scheme, heard.calibration() if heard and scheme == "int8" else ())
    file = inspect(content)
    if file.foreign:
        raise InputError(
            f"{source.name!r} needs the operators {', '.join(file.foreign)}, which LiteRT alone does not have: use "
            "other layers"
        )
    costs = _costs(model, shape, content, file)
    if not heard:
        return Quantised(source, scheme, content, file, costs, {}, {})
    before = float_tables(tracker, source, heard, model)
    predicted = predict_tflite(content, heard, source.task, jobs=jobs)
    made = Quantised(
        source,
        scheme,
        content,
        file,
        costs,
        {split: predicted[split] for split in before if split in predicted},
        before,
    )
    if tracker and source.record:
        return replace(made, logged=_log(tracker, made, source.record))
    return made


def find_quantised(tracker: Reader, record: RunRecord, scheme: str) -> RunRecord | None:
    """The finished run of a trained run under a scheme, if it is there."""
    return find_derived(tracker, record.tags[Tag.STUDY], quantised_identity(record, scheme))


def usual_scheme(tracker: Reader | None, reference: str) -> Scheme:
    """How a source is converted if nothing is said: int8 if it was trained for that, else dynamic.

    Raises
    ------
    InputError
        As `find_source`.
    """
    if is_file(reference):
        return "dynamic"
    config = find_source(tracker, reference).config
    return "int8" if config and config.quantisation_aware else "dynamic"


def convert_source(source: Source, scheme: str) -> tuple[bytes, TfliteFile]:
    """Convert without a proof; raises `InputError` as `convert`, and for int8, which needs clips."""
    aware = source.config is not None and source.config.quantisation_aware is not None
    if scheme == "int8" and not aware:
        raise InputError(
            f"int8 needs clips to calibrate on: run `asc-study quantize {source.name!r} --scheme int8 --data DIR` first"
        )
    content = convert(source.load(), _input_shape(source, None), scheme)
    return content, inspect(content)


def write_tflite(quantised: Quantised, path: Path) -> None:
    """Write the file; raises `InputError` if that is not possible."""
    write_file(path, quantised.content)


def default_path(reference: str, scheme: str) -> Path:
    """Where the file goes if nothing is said: in the working directory, named by source and scheme."""
    stem = Path(reference).stem if Path(reference).suffix else reference.rpartition("/")[2]
    return Path(f"{stem.replace(' ', '-')}-{scheme}.tflite")


def require_room(path: Path) -> None:
    """Raise `InputError` if the file could not be written, before the work."""
    if path.suffix != ".tflite":
        raise InputError(f"--out must end in .tflite, got {str(path)!r}: rename it")
    require_writable(path)


def _found(tracker: Reader, source: Source, trained: RunRecord, scheme: str, record: RunRecord) -> Quantised:
    content = tracker.artifact(record.run_id, Artifact.TFLITE).read_bytes()
    costs = {name: value for name, value in record.metrics.items() if name.startswith("cost/")}
    tables, before = tracker.predictions(record.run_id), tracker.predictions(trained.run_id)
    return Quantised(source, scheme, content, inspect(content), costs, tables, before, existing(record))


def _input_shape(source: Source, heard: HeardClips | None) -> tuple[int, int, int]:
    settings = source.features.at(source.sample_rate)
    return settings.input_shape(heard.samples if heard else source.clip_samples, source.channels)


def _costs(model: "keras.Model", shape: tuple[int, int, int], content: bytes, file: TfliteFile) -> dict[str, float]:
    from asc_study.models.cost import mac_metrics, model_size

    size = model_size(model)
    return {
        "cost/parameters": size.parameters,
        "cost/model_kb": size.weight_bytes / 1024,
        "cost/file_kb": file.file_bytes / 1024,
        "cost/nonzero_kb": file.nonzero_bytes / 1024,
        "cost/stored_kb": file.stored_bytes / 1024,
        **mac_metrics(model, shape),
        "cost/latency_ms": latency_ms(content, np.zeros(shape, np.float32)),
    }


def _log(tracker: Tracker, made: Quantised, record: RunRecord) -> Logged:
    name = quantised_name(record.tags[Tag.ROW], made.scheme)
    before, after = measure(made.before), measure(made.tables)
    agreed = {f"{split}/agreement": share for split, share in made.agreement.items()}
    about = {"scheme": made.scheme, **asdict(made.file), "agreement": made.agreement}
    derived = Derived(
        identity=quantised_identity(record, made.scheme),
        study=record.tags[Tag.STUDY],
        name=name,
        task=made.source.task,
        system=f"{made.scheme} of {record.label}",
        members=[record],
        tables=made.tables,
        tags={
            Tag.CHANGE_AGAINST: record.label,
            Tag.SAMPLE_RATE: str(made.source.sample_rate),
            Tag.CHANNELS: str(made.source.channels),
        },
        metrics={**made.costs, **agreed, **changes(before, after)},
        files={Artifact.TFLITE: made.content, Artifact.QUANTISATION: json.dumps(about, indent=2)},
        figures=[change_figure({record.label: before, name: after})] if "test" in made.tables else [],
    )
    return log_derived(tracker, derived)


def to_dict(made: Quantised, path: Path) -> dict[str, Any]:
    """The result in the types of JSON."""
    comparison = made.comparison
    return {
        "source": made.source.name,
        "scheme": made.scheme,
        "file": str(path),
        "run_id": made.logged.run_id if made.logged else None,
        "existed": bool(made.logged and made.logged.existed),
        "costs": dict(made.costs),
        "operators": list(made.file.operators),
        "agreement": made.agreement,
        "comparison": asdict(comparison) if comparison else None,
    }


def render(made: Quantised, path: Path) -> str:
    """Size, speed, agreement and the accuracy before and after by device subset, as text."""
    kilobytes = {name.removeprefix("cost/").removesuffix("_kb"): value for name, value in made.costs.items()}
    lines = [
        f"{path}: {made.source.name}, {made.scheme}",
        f"size in kB (1,024 bytes): {kilobytes['file']:,.1f} the file, {kilobytes['model']:,.1f} float32 weights, "
        f"{kilobytes['nonzero']:,.1f} non-zero ones (DCASE 2020), {kilobytes['stored']:,.1f} all (DCASE 2022)",
        f"latency {made.costs['cost/latency_ms']:.2f} ms a clip on one thread; operators, all of LiteRT's own: "
        f"{', '.join(made.file.operators)}",
    ]
    for split, share in made.agreement.items():
        lines.append(f"decides as before: {100 * share:.1f} % of {len(made.tables[split])} {split} clips")
    if comparison := made.comparison:
        lines += ["", render_comparison(comparison, "before", made.scheme)]
    else:
        lines.append("not proven: give --data, the data set that it was trained on")
    return "\n".join(lines)
