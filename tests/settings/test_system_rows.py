import textwrap
from pathlib import Path

import pytest

from asc_study.base.errors import InputError
from asc_study.settings.ensemble_rows import BudgetRow, EnsembleRow
from asc_study.settings.study_file import Study, load_study

ROWS = """
study: s
base: {architecture: small_fcnn}
rows:
- {name: a}
- {name: b, model: {width: 0.5}}
- {name: three, task: three_class}
ensembles:
- {name: mean, fine: [a, b]}
- {name: two-stage, fine: [mean], coarse: [three]}
systems:
"""


def load(systems: str) -> Study:
    Path("s.yaml").write_text(ROWS + textwrap.indent(textwrap.dedent(systems).strip(), "  "), encoding="utf-8")
    return load_study(Path("s.yaml"), default_task="ten_class")


def test_a_system_of_one_row_or_ensemble_needs_nothing_more():
    study = load("- {name: x, fine: [a]}\n- {name: y, fine: [two-stage], scheme: int8, max_kb: 500}")
    assert [(system.name, system.part, system.scheme, system.max_kb) for system in study.systems] == [
        ("x", "a", "dynamic", None),
        ("y", "two-stage", "int8", 500),
    ]
    assert [row.name for row in study.ensembles] == ["mean", "two-stage"]
    assert study.names[-2:] == ["x", "y"]


def test_an_ensemble_that_the_file_has_is_taken():
    study = load("- {name: x, fine: [mean], coarse: [three]}\n- {name: y, fine: [a, b]}")
    assert [system.part for system in study.systems] == ["two-stage", "mean"]
    assert len(study.ensembles) == 2


def test_what_a_system_needs_becomes_ensembles_of_the_study():
    study = load("- {name: x, fine: [a, b], coarse: [three], select: {max_members: 1}, join: learned}")
    selection, fusion = study.ensembles[2:]
    assert (selection.name, selection.fine, selection.select.max_members) == ("x-selection", ["a", "b"], 1)
    assert fusion == EnsembleRow(name="x-fusion", fine=["x-selection"], coarse=["three"], join="learned")
    assert study.systems[0].part == "x-fusion"
    assert [row.name for row in study.only(["x"]).ensembles] == ["x-fusion"]


def test_a_budget_chooses_among_quantised_rows():
    study = load("- {name: x, fine: [a, b], coarse: [three], select: {method: budget}, max_kb: 300, scheme: float16}")
    selection, fusion = study.ensembles[2:]
    assert isinstance(selection, BudgetRow)
    assert (selection.fine, selection.beside, selection.max_kb) == (["a-float16", "b-float16"], ["three-float16"], 300)
    assert (fusion.fine, fusion.coarse) == (["x-selection"], ["three-float16"])
    assert study.systems[0].quantised == {"a-float16": "a", "b-float16": "b", "three-float16": "three"}


@pytest.mark.parametrize(
    ("system", "message"),
    [
        ("{name: x}", "system 'x' needs at least 1 row under `fine`, got none"),
        ("{name: x, fine: [c]}", "names the unknown row 'c'"),
        ("{name: a, fine: [b]}", "the name 'a' is taken by another row"),
        ("{name: a-int8, fine: [b], scheme: int8}", "'a-int8' is that of a row's quantised network: rename it"),
        ("{name: x, fine: [a], max_kb: 0}", "`max_kb` must be above 0.0, got 0"),
        ("{name: x, fine: [a], scheme: int4}", "`scheme` must be 'float32'"),
        ("{name: x, fine: [a], fusion: logistic}", "of one row fuses nothing"),
        ("{name: x, fine: [a, b], select: {method: budget}}", "selects by `budget`, got no `max_kb`"),
        ("{name: x, fine: [mean, a], select: {method: budget}, max_kb: 9}", "among trained rows, got 'mean'"),
        ("{name: x, fine: [a, three]}", "`fine` takes rows of one task"),
        ("{name: x, fine: [a, a]}", "system 'x' must name each row once, got "),
        ("{name: x, fine: [a], coarse: [three], exponent: 101}", "`exponent` must be a number in .* or fit, got 101"),
    ],
)
def test_what_is_wrong_is_one_line(system, message):
    with pytest.raises(InputError, match=message) as error:
        load(f"- {system}")
    assert "\n" not in str(error.value)


def test_an_ensemble_has_no_budget():
    Path("s.yaml").write_text(ROWS.replace("systems:", "- {name: e, fine: [a, b], select: {method: budget}}"))
    with pytest.raises(InputError, match=r"ensemble 'e' cannot select by `budget`.*that is for `systems`"):
        load_study(Path("s.yaml"), default_task="ten_class")
