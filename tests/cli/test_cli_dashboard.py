"""The command that writes a report, and where commands point to the dashboards."""

from pathlib import Path

from asc_study.base.contract import Artifact, Kind, predictions_path
from asc_study.cli import cli
from asc_study.cli.options import DEVICES_VIEW, TRIALS_VIEW, where_to_look
from asc_study.store.views import dashboard_link
from asc_study.study.launch import summary_run


def test_a_report_is_written_and_kept_unless_it_is_not_wanted(asc, tracker, log_run, make_table):
    log_run("plain", {"test": make_table(0)})
    run_id = summary_run(tracker, "s", Kind.STUDY, {})
    code, out, err = asc("report", "s", "--out", "r.html", "--no-log")
    assert (code, err) == (0, "")
    assert out.startswith("written: r.html (")
    assert not tracker.client.list_artifacts(run_id)
    assert asc("report", "s", "--out", "r.html")[0] == 2
    assert asc("report", "s", "--out", "r.html", "--force")[0] == 0
    assert tracker.artifact(run_id, Artifact.REPORT).read_text() == Path("r.html").read_text()


def test_a_report_that_lacks_what_predictions_tell_says_so(asc, tracker, log_run, make_table, monkeypatch):
    for seed, row in enumerate(("plain", "good", "lost")):
        log_run(row, {"test": make_table(seed)})
    record = next(one for one in tracker.runs("s") if one.label == "lost seed 0")
    (Path(record.artifact_uri.removeprefix("file://")) / predictions_path("test")).unlink()
    code, out, err = asc("report", "s", "--out", "r.html", "--no-log")
    line = "missing in r.html: the differences of rows whose test predictions cannot be read (deleted?): lost seed 0\n"
    assert (code, err) == (1, line)
    assert out.startswith("written: r.html (")
    assert "test predictions cannot be read (deleted?): lost seed 0." in Path("r.html").read_text()

    def broken(*_: object) -> None:
        raise ConnectionError("no\nroute")

    monkeypatch.setattr("asc_study.store.queries.Reader.predictions_of", broken)
    code, _, err = asc("report", "s", "--out", "r.html", "--no-log", "--force")
    (told,) = err.splitlines()
    assert told.startswith(
        "missing in r.html: intervals and differences, for the predictions cannot be read (no route);"
    )
    assert (code, "; the part Devices (no route)" in told) == (1, True)
    assert "This part is missing: it could not be read (no route)." in Path("r.html").read_text()


def test_what_cannot_be_reported_is_one_line(asc, tracker, log_run, make_table):
    log_run("plain", {"test": make_table(0)})
    for arguments in (("nobody", "--out", "r.html"), ("s", "--out", "r.html", "--reference", "plane")):
        code, out, err = asc("report", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
    assert not Path("r.html").exists()


def test_commands_name_the_dashboards_of_a_study_and_not_of_a_search(tracker):
    assert where_to_look("a b", DEVICES_VIEW).splitlines()[1] == "dashboards: asc-study dashboard 'a b'"
    assert "dashboard " not in where_to_look("a b", TRIALS_VIEW)


def test_the_link_to_the_dashboards_is_where_they_are_served():
    told = {parameter.name: parameter.default for parameter in cli.commands["dashboard"].params}
    assert dashboard_link("a b") == f"http://{told['host']}:{told['port']}/?study=a+b"
