"""Limits of a study: what its networks cost for the clips that it really has, and what is refused before anything."""

import textwrap
from pathlib import Path

import pytest

from asc_study.base.errors import InputError
from asc_study.data.identified import identify
from asc_study.settings.limits import NO_LIMITS, Limits
from asc_study.settings.study_file import Study, load_study
from asc_study.study.preflight import check_fit


def study(rows: str, limits: str = "{params_bytes: 128000, macs: 30000000}", preset: str = "dcase2024") -> Study:
    text = f"""
    study: small
    limits: {limits}
    base: {{architecture: cp_mobile, features: {{preset: {preset}}}}}
    rows: {rows}
    """
    path = Path("study.yaml")
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return load_study(path)


def test_each_row_costs_what_the_publications_say_for_one_second_of_the_data(simulated: Path) -> None:
    limits = "{params_bytes: 128000, macs: 30000000, precision: %s}"
    baseline = f"{{name: a, model: {{variant: dcase2024}}, limits: {limits % 'float16'}}}"
    said: list[str] = []
    known = study(f"[{baseline}, {{name: b, features: {{preset: cp_mobile}}}}]", limits % "int8")
    check_fit(known, identify(simulated).dataset, said.append)
    assert said == [
        "limits kept (a): 61,148 parameters, 122,296 bytes in float16; 29,419,156 multiply-accumulates for a clip of "
        "256 x 65 x 1",
        "limits kept (b): 126,952 parameters, 126,952 bytes in int8; 28,893,268 multiply-accumulates for a clip of "
        "256 x 64 x 1",
    ]


def test_a_row_beyond_its_limits_is_refused_and_the_line_says_what_to_do(simulated: Path) -> None:
    dataset = identify(simulated).dataset
    with pytest.raises(InputError) as refused:
        check_fit(study("[{name: a}]", "{macs: 30000000}"), dataset)
    assert str(refused.value) == (
        "row 'a': limits.macs is 30,000,000, got 31,684,180 multiply-accumulates for a clip of 256 x 65 x 1 (bands, "
        "frames, channels): lower model.width, or have fewer bands or frames in `features`"
    )
    with pytest.raises(InputError) as refused:
        check_fit(study("[{name: a}]", preset="cp_mobile"), dataset)
    assert str(refused.value) == (
        "row 'a': limits.params_bytes is 128,000, got 507,808 bytes, 126,952 parameters in float32: lower model.width, "
        "or say in limits.precision in what it will be deployed (float16, int8)"
    )


def test_a_warm_up_that_no_cycle_outlasts_is_found_before_anything_runs(simulated: Path) -> None:
    settings = "training: {batch_size: 16, epochs: 2, schedule: cosine, warmup_steps: 600}"
    known = study(f"[{{name: a, {settings}}}]", "{}")
    with pytest.raises(InputError, match=r"row 'a': training.warmup_steps must be below the \d+ steps .*, got 600"):
        check_fit(known, identify(simulated).dataset)


def test_a_mean_of_snapshots_or_folds_costs_what_all_of_its_networks_do(simulated: Path) -> None:
    snapshots = "training: {epochs: 30, select_epoch: snapshots, snapshots: 2}"
    folds = "validation: {folds: 3}"
    rows = [f"{{name: {name}, model: {{width: 0.25}}, {own}}}" for name, own in (("s", snapshots), ("f", folds))]
    rows.append(f"{{name: both, model: {{width: 0.25}}, {snapshots}, {folds}}}")
    rows.append("{name: all, model: {width: 0.25}, validation: {folds: 3, final: all}}")
    said: list[str] = []
    check_fit(study(f"[{', '.join(rows)}]", "{macs: 100000000}"), identify(simulated).dataset, said.append)
    counted = [int(line.split(": ")[1].split(" parameters")[0].replace(",", "")) for line in said if "limits" in line]
    assert [count / counted[-1] for count in counted] == [2, 3, 6, 1]


def test_a_row_has_the_limits_of_its_study_its_own_or_none() -> None:
    rows = "[{name: a}, {name: b, model.width: 0.5, limits: {macs: 7}}, {name: c, model.width: 2, limits: null}]"
    first, own, teacher = study(rows).rows
    assert first.limits == Limits(params_bytes=128_000, macs=30_000_000)
    assert own.limits == Limits(macs=7)
    assert teacher.limits == NO_LIMITS
    assert not teacher.limits.any


@pytest.mark.parametrize(
    ("limits", "line"),
    [
        ("{mac: 3}", r"study.yaml: unknown key 'limits.mac': did you mean 'macs'\?"),
        ("{params_bytes: 0}", "`limits.params_bytes` must be at least 1, got 0"),
        ("{precision: int4}", "`limits.precision` must be 'float32', 'float16' or 'int8', got 'int4'"),
    ],
)
def test_limits_are_strict(limits: str, line: str) -> None:
    with pytest.raises(InputError, match=line):
        study("[{name: a}]", limits)
    with pytest.raises(InputError, match=line.replace("study.yaml: ", "study.yaml: row 'a': ")):
        study(f"[{{name: a, limits: {limits}}}]", "{}")
