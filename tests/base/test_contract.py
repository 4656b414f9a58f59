"""The names under which MLflow and Optuna hold what the platform stores are spelled in one module.

So are those of metrics as far as the dashboards are concerned: they look one up, where a slip is an error, not an empty
column.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import asc_study
import dashboards
from asc_study.base import contract
from asc_study.base.contract import Artifact, Kind, MlflowTag, Tag, holdout_path, predictions_path
from asc_study.base.metric_table import BY_NAME

PACKAGE = Path(asc_study.__file__).parent
DASHBOARDS = Path(dashboards.__file__).parent


def names_of(table: type) -> set[str]:
    return {value for key, value in vars(table).items() if not key.startswith("_")}


KINDS = names_of(Kind)
#: Names that are nothing else; a folder such as ``predictions`` or the kind ``train`` is an ordinary word as well.
UNMISTAKABLE = names_of(Tag) | names_of(MlflowTag) | {name for name in names_of(Artifact) if "." in name}

#: A tag anywhere in a text, and what the path of a predictions table begins with.
PART_OF_A_TEXT = re.compile(r"\basc\.[a-z_]+\b|^predictions/|^holdout/$")


def spelled(source: str) -> Iterator[str]:
    """The names of the contract that the code of a module spells, docstrings left out."""
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            text = node.value
            if text in UNMISTAKABLE or PART_OF_A_TEXT.search(text):
                yield text
        elif is_about_kinds(node):
            for below in ast.walk(node):
                if isinstance(below, ast.Constant) and below.value in KINDS:
                    yield str(below.value)


def is_about_kinds(node: ast.AST) -> bool:
    """Whether a kind is compared, asked for, or written."""
    if isinstance(node, ast.Compare):
        return re.search(r"Tag\.KIND|\bkind\b", ast.unparse(node)) is not None
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) in {"Identity", "one_run"}
    return isinstance(node, ast.keyword) and node.arg == "kind" and isinstance(node.value, ast.Constant)


def test_no_other_module_spells_a_name_of_the_contract() -> None:
    found = [
        f"{path.relative_to(folder.parent)} spells {text!r}"
        for folder in (PACKAGE, DASHBOARDS)
        for path in sorted(folder.rglob("*.py"))
        if path != Path(contract.__file__)
        for text in spelled(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "planted",
    [
        "row = record.tags['asc.row']",
        "query = f'tags.`asc.kind` = {kind}'",
        "label = f\"{record.tags['asc.row']}-int8\"",
        "client.set_tag(run_id, 'mlflow.runName', name)",
        "write_file(folder / 'identity.json', text)",
        "path = tracker.artifact(run_id, 'predictions/test.parquet')",
        "path = f'holdout/{device}.parquet'",
        "tracker.runs(study, kind='train')",
        "is_trained = record.tags[Tag.KIND] in ('train', Kind.QUANTISED)",
        "identity = Identity('fusion', settings)",
    ],
)
def test_a_spelled_name_is_found(planted: str) -> None:
    assert list(spelled(planted))


@pytest.mark.parametrize(
    "allowed",
    ["'''The tag ``asc.row``.'''", "train = clips[clips['split'] == 'train']", "name = 'asc-study'", "x = 'a study'"],
)
def test_an_ordinary_word_is_none(allowed: str) -> None:
    assert not list(spelled(allowed))


#: What makes the name of a metric.
OF_A_METRIC = re.compile(r"^(test|validation|evaluation|holdout|cost|epoch)/")


def spelled_metrics(source: str) -> Iterator[str]:
    """The names of metrics that the code of a module spells other than as keys of the table of metrics."""
    tree = ast.parse(source)
    keys = {
        id(below)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "BY_NAME"
        for below in ast.walk(node.slice)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in keys:
            continue
        if node.value in BY_NAME or OF_A_METRIC.match(node.value):
            yield node.value


def test_the_dashboards_look_metrics_up() -> None:
    found = [
        f"{path.relative_to(DASHBOARDS)} spells {text!r}"
        for path in sorted(DASHBOARDS.rglob("*.py"))
        for text in spelled_metrics(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "planted", ["x = frame['acc_avg']", "x = record.metrics['test/acc_avg']", "key = f'test/{name}'", "y = 'cost/macs'"]
)
def test_a_spelled_metric_is_found(planted: str) -> None:
    assert list(spelled_metrics(planted))


def test_a_metric_that_is_looked_up_is_none() -> None:
    assert not list(spelled_metrics("last = record.metrics.get(BY_NAME['epoch/chosen'].name)"))


def test_no_name_stands_for_two_things() -> None:
    for table in (Tag, MlflowTag, Kind, Artifact):
        assert len(names_of(table)) == len([key for key in vars(table) if not key.startswith("_")])


def test_names_are_plain_texts() -> None:
    """An enum's member would be refused by the safe YAML writer."""
    assert {type(name) for table in (Tag, MlflowTag, Kind, Artifact) for name in names_of(table)} == {str}


def test_paths_of_tables() -> None:
    assert predictions_path("test") == "predictions/test.parquet"
    assert holdout_path("s3+b") == "holdout/s3+b.parquet"
