"""The command that writes a report, and where commands point to the dashboards."""

from pathlib import Path

from asc_study.base.contract import Artifact, Kind
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
