from pathlib import Path

import pytest

from asc_study.base.provenance import fingerprint, short_digest
from asc_study.settings.study_file import load_study
from asc_study.study.plan import make_plan, render_plan, specs
from asc_study.systems.rows import make_ensembles

DIGEST = "d" * 64
STUDY = """
study: s
rows:
- {name: a, architecture: small_fcnn}
- {name: b, architecture: small_fcnn, model: {width: 0.5}}
ensembles:
- {name: chosen, fine: [a, b], select: {max_members: 2}}
"""


@pytest.fixture
def study():
    Path("s.yaml").write_text(STUDY)
    return load_study(Path("s.yaml"), default_task="ten_class")


def train(tracker, log_run, make_table, spec, number: int) -> str:
    """Log a run of that specification with made predictions."""
    run_id = log_run(spec.row, {split: make_table(number, split=split) for split in ("validation", "test")})
    tags = {"asc.signature": spec.signature, "asc.combination": spec.combination}
    tracker.set_tags(run_id, {**tags, "asc.fingerprint": short_digest(fingerprint())})
    return run_id


def test_the_plan_marks_an_ensemble_whose_member_was_deleted(study, tracker, log_run, make_table):
    wanted = specs(study, DIGEST)
    runs = {(spec.row, 0): train(tracker, log_run, make_table, spec, i) for i, spec in enumerate(wanted)}

    def make() -> list[str]:
        outcomes = make_ensembles(tracker, "s", study.ensembles, study.ensembles, [0], runs, lambda line: None).outcomes
        return [outcome.status for outcome in outcomes]

    assert make() == ["done"]
    plan = make_plan(study, DIGEST, tracker)
    assert (plan.counts["done"], plan.counts["stale"]) == (2, 0)
    tracker.client.delete_run(runs["a", 0])
    plan = make_plan(study, DIGEST, tracker)
    assert (plan.counts["new"], plan.counts["stale"]) == (1, 1)
    text = render_plan(study, plan)
    assert "1 stale" in text.splitlines()[0]
    assert f"its member {runs['a', 0]} was deleted" in text
    assert "stale: an ensemble that is no longer what the study says: made anew by run" in text
    runs["a", 0] = train(tracker, log_run, make_table, wanted[0], 0)
    assert make() == ["done"]
    assert make_plan(study, DIGEST, tracker).counts["stale"] == 0


def test_the_plan_marks_an_ensemble_whose_choice_the_study_has_changed(study, tracker, log_run, make_table):
    runs = {(spec.row, 0): train(tracker, log_run, make_table, spec, i) for i, spec in enumerate(specs(study, DIGEST))}
    make_ensembles(tracker, "s", study.ensembles, study.ensembles, [0], runs, lambda line: None)
    Path("s.yaml").write_text(STUDY.replace("max_members: 2", "max_members: 1"))
    changed = make_plan(load_study(Path("s.yaml"), default_task="ten_class"), DIGEST, tracker)
    ((record, reason),) = changed.stale
    assert (record.label, reason) == (
        "chosen seed 0",
        "it was made by other settings, or of other runs, than the study has now",
    )
