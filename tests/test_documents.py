"""docs/reference.md names everything that a user can write or meet, and nothing that is not there.

Keys and defaults are taken from the pydantic models, commands and options from the click commands, metrics from their
table, tags, kinds and artifacts from the contract; variables are the literals of the code.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import click
import pytest
import yaml

import asc_study
import asc_study.testing
from asc_study.augmentation import AUGMENTATIONS, WAVEFORM_AUGMENTATIONS
from asc_study.base.contract import Artifact, Kind, Tag, evaluation_path, holdout_path, predictions_path
from asc_study.base.metric_table import METRICS
from asc_study.base.plugins import ENTRY_POINT_GROUPS
from asc_study.base.schema import Strict
from asc_study.base.taxonomy import DEVICE_SUBSETS, DEVICES, SCENE_GROUPS, SCENES
from asc_study.cli import cli
from asc_study.data.description import DatasetDescription
from asc_study.models import ARCHITECTURES
from asc_study.search.file import SearchFile
from asc_study.search.sampler import PRUNERS, SAMPLERS
from asc_study.search.space import TYPES
from asc_study.settings.ensemble_rows import EnsembleRow
from asc_study.settings.run_config import RunConfig
from asc_study.settings.study_file import StudyFile
from asc_study.settings.system_rows import SystemRow

PACKAGE = Path(asc_study.__file__).parent
REFERENCE = PACKAGE.parent / "docs" / "reference.md"


def read_sections(text: str) -> dict[str, dict[str, str]]:
    """Heading -> what its tables name in their first column -> the second column."""
    sections: dict[str, dict[str, str]] = {}
    rows: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            rows = sections.setdefault(line.lstrip("# "), {})
        elif row := re.match(r"\| `([^`]+)` \| (.*?) \|", line):
            assert row[1] not in rows, f"{row[1]} is listed twice"
            rows[row[1]] = row[2]
    return sections


SECTIONS = read_sections(REFERENCE.read_text(encoding="utf-8"))

#: Parsed modules by path, and all texts in their code: docstrings left out.
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def texts(*stages: str) -> Iterator[str]:
    """Every text constant in the code of some stages, all by default, docstrings left out."""
    for path, tree in TREES.items():
        if stages and path.relative_to(PACKAGE).parts[0] not in stages:
            continue
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
                yield node.value


def keys(model: type[Strict], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and default of every setting of a model; of one without a default ``required``."""
    for name, field in model.model_fields.items():
        kinds = get_args(field.annotation) or (field.annotation,)
        groups = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Strict)]
        if groups and get_origin(field.annotation) is not dict:
            for group in groups:
                yield from keys(group, f"{prefix}{name}.")
        elif (prefix, name) not in {("", "model"), ("", "batch_augmentation"), ("", "waveform_augmentation")}:
            yield prefix + name, "required" if field.is_required() else field.get_default(call_default_factory=True)


def of_parts(parts: Any) -> dict[str, Any]:
    """The settings of named parts, below their names."""
    return {key: default for name, part in parts.items() for key, default in keys(part, f"{name}.")}


EXPECTED_KEYS = {
    "Study file": dict(keys(StudyFile)),
    "Settings of a run": dict(keys(RunConfig)),
    "Ensembles": dict(keys(EnsembleRow)),
    "Systems": dict(keys(SystemRow)),
    "Search file": dict(keys(SearchFile)),
    "Data description": dict(keys(DatasetDescription)),
    "Batch augmentations": of_parts(AUGMENTATIONS),
    "Waveform augmentations": of_parts(WAVEFORM_AUGMENTATIONS),
    **{f"Model: `{name}`": dict(keys(part.options_model, "model.")) for name, part in ARCHITECTURES.items()},
    **{f"Parameter: `{name}`": dict(keys(part)) for name, part in TYPES.items()},
    **{f"Sampler: `{name}`": dict(keys(part)) for name, part in SAMPLERS.items()},
    **{f"Pruner: `{name}`": dict(keys(part)) for name, part in PRUNERS.items()},
}


def section_of(title: str) -> dict[str, str]:
    """The rows under a heading; `Model: x` is under a heading that names several, too."""
    kind, _, name = title.partition(": ")
    for heading, rows in SECTIONS.items():
        if heading == title or (
            name and heading.startswith(f"{kind}: ") and name in heading.split(": ")[1].split(", ")
        ):
            return rows
    pytest.fail(f"docs/reference.md has no section {title!r}")


@pytest.mark.parametrize("title", EXPECTED_KEYS)
def test_every_key_stands_there_with_its_default(title: str) -> None:
    listed = {
        key: default if default == "required" else yaml.safe_load(default.strip("`"))
        for key, default in section_of(title).items()
    }
    assert listed == EXPECTED_KEYS[title]


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command and group by its full name."""
    yield path, command
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from commands(below, f"{path} {name}")


COMMANDS = dict(commands(cli, "asc-study"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_stands_there_with_its_options(name: str) -> None:
    expected = {
        parameter.opts[0] if isinstance(parameter, click.Option) else str(parameter.metavar)
        for parameter in COMMANDS[name].params
    }
    assert set(SECTIONS[name]) == expected


def test_no_command_stands_there_that_is_none() -> None:
    assert {title for title in SECTIONS if title.startswith("asc-study")} == set(COMMANDS)


def test_the_exit_codes_stand_there() -> None:
    """Those of the one place that ends the process, and the two that commands return."""
    ends = [
        node
        for node in ast.walk(TREES[PACKAGE / "cli" / "__init__.py"])
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "_fail"
    ]
    assert len(ends) > 3
    assert {int(code) for code in SECTIONS["Exit codes"]} == {0, 1} | {ast.literal_eval(end.args[1]) for end in ends}


def names_of(table: type) -> set[str]:
    return {value for key, value in vars(table).items() if not key.startswith("_")}


def test_every_tag_stands_there() -> None:
    assert set(SECTIONS["Tags"]) == names_of(Tag)


def test_every_kind_stands_there() -> None:
    assert set(re.findall("`(.*?)`", SECTIONS["Tags"]["asc.kind"])) == names_of(Kind)


def test_every_environment_variable_stands_there() -> None:
    own = re.compile(r"(ASC_STUDY|MLFLOW|KERAS|JAX|CUDA|TF)_[A-Z_]*[A-Z]")
    assert set(SECTIONS["Environment variables"]) == {text for text in texts() if own.fullmatch(text)}


PLACEHOLDERS = {
    "<device>": DEVICES,
    "<scene>": (*SCENES, *SCENE_GROUPS),
    "<subset>": tuple(DEVICE_SUBSETS),
}


def listed_metrics() -> set[str]:
    """The names of the section, their placeholders replaced by all that they stand for."""
    names = set()
    for name in SECTIONS["Metrics"]:
        found = re.search(r"<(device|scene|subset)>", name)
        names |= {name.replace(found[0], value) for value in PLACEHOLDERS[found[0]]} if found else {name}
    return names


def test_every_metric_stands_there() -> None:
    known = {name for metric in METRICS for name in (metric.test_name, metric.validation_name)}
    # What is measured of each epoch is named where it is measured, and of a fusion each metric has a change.
    of_epochs = {name for name in listed_metrics() if name.startswith("epoch/")} - known
    assert "epoch/objective" in of_epochs  # of a trial; the others are held by the next test, which trains
    assert listed_metrics() - of_epochs - {"test/change_<metric>"} == known
    used = set(texts("training", "search", "study"))
    assert {name.removeprefix("epoch/") for name in of_epochs} <= used


@pytest.mark.slow
def test_every_metric_of_an_epoch_stands_there(simulated: Path) -> None:
    from asc_study.data.identified import identify
    from asc_study.store.tracking import Tracker
    from asc_study.study.run_study import run_study

    Path("study.yaml").write_text(
        "study: names\nbaseline: false\nfigures: cdn\nrows: [{name: one}]\nbase:\n"
        "  architecture: small_fcnn\n  model: {width: 0.05}\n"
        "  features: {n_mels: 32}\n  training: {epochs: 1, threads: 2}\n"
        "  validation: {share: 0.3, holdout_devices: [b]}\n",
        encoding="utf-8",
    )
    (outcome,) = run_study(asc_study.load_study(Path("study.yaml")), identify(simulated))
    assert outcome.status == "done"
    logged = Tracker().runs("names", kind="train")[0].metrics
    assert {re.sub(r"_(lo|hi)$", "", name) for name in logged} <= listed_metrics()


def templates(*stages: str) -> Iterator[str]:
    """Every f-string in the code of some stages, ``*`` where a value is put in."""
    for path, tree in TREES.items():
        if path.relative_to(PACKAGE).parts[0] in stages:
            for node in ast.walk(tree):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)


def test_every_artifact_stands_there() -> None:
    tables = {predictions_path("test"), predictions_path("validation"), evaluation_path("*"), holdout_path("*")}
    listed = {re.sub("<.*>", "*", name) for name in SECTIONS["Artifacts"]}
    assert listed == names_of(Artifact) - {Artifact.PREDICTIONS, Artifact.FIGURES} | tables


def test_every_artifact_is_one_of_the_contract() -> None:
    """No stage that logs runs names a file of its own; what it only reads is named here."""
    read = {"evaluation_setup/fold1_evaluate.csv", "optuna.db", "*.parquet"}
    read |= {"output.csv", ".meta.yaml", "*.meta.yaml"}  # of a submission package, which is no run
    read |= {"run.json", "result.json"}  # of the spool, which is on this machine
    form = re.compile(r"[\w/.*-]+\.(json|yaml|csv|txt|parquet|html|tflite)")
    stages = ("study", "systems", "search", "store")
    assert {text for text in (*texts(*stages), *templates(*stages)) if form.fullmatch(text)} - read == set()


def test_every_file_of_a_bundle_stands_there() -> None:
    written = {*texts("deploy"), *templates("deploy")}
    form = re.compile(r"(members/)?[\w*-]+\.(json|npy|tflite|txt|py|md)", re.IGNORECASE)
    beside = {"served.py", "*-*.tflite"}
    found = {text for text in written if form.fullmatch(text)} - beside | {Artifact.FUSION, Artifact.MANIFEST}
    assert {re.sub("<[^>]*>", "*", name) for name in SECTIONS["Bundle"]} == found


def test_every_group_of_entry_points_stands_there() -> None:
    assert set(SECTIONS["Entry points"]) == set(ENTRY_POINT_GROUPS.values())


def test_every_contract_suite_stands_there() -> None:
    assert set(SECTIONS["Contract suites"]) == set(asc_study.testing.__all__)


def test_a_missing_row_is_noticed() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    without = re.sub(r"(?m)^\| `training\.epochs` .*\n", "", text)
    assert read_sections(without)["Settings of a run"].keys() == SECTIONS["Settings of a run"].keys() - {
        "training.epochs"
    }
