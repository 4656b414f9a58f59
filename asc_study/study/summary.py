"""The run that stands for a study as a whole, and what MLflow's page says of the study: made anew by each launch."""

import hashlib
import importlib.metadata
import json
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from asc_study.base.contract import Artifact, Kind, MlflowTag
from asc_study.base.files import write_file
from asc_study.base.metric_table import subsets_of, unseen_among
from asc_study.base.source import package_digest
from asc_study.base.taxonomy import known_taxonomies
from asc_study.settings.published import parse_published
from asc_study.settings.study_file import Study
from asc_study.store.addresses import address_line
from asc_study.store.tracking import Tracker
from asc_study.store.views import (
    CHARTS,
    DEVICES,
    ENSEMBLES,
    View,
    dashboard_link,
    publish,
    run_link,
    study_views,
    view_link,
)
from asc_study.study.definition import define
from asc_study.study.launch import Launch
from asc_study.study.leaderboard import leaderboard
from asc_study.study.leaderboard_forms import render, unique_names
from asc_study.study.plan import specs

#: MLflow keeps 8,000 characters of a run's tag and 5,000 of an experiment's, to which a report adds its line.
_LONGEST_NOTE: Final = 7900
_LONGEST_OF_EXPERIMENT: Final = 4700

#: Rows whose change is told in words.
_MOST_TOLD: Final = 15

#: Begins the line of a study's description that leads to its report.
_REPORT: Final = "Report: "


def describe_study(study: Study, tracker: Tracker, launch: Launch) -> None:
    """Log what the study is."""
    with tracker.artifacts(launch.summary_run_id) as folder:
        write_file(folder / Artifact.STUDY, study.source)
        table = {
            "rows": study.names,
            "combinations": define(study, launch.data.digest).rows,
            "made": [row.name for row in study.ensembles] + [system.name for system in study.systems],
            "seeds": list(study.seeds),
            "runs": [[spec.row, spec.seed, spec.signature] for spec in specs(study, launch.data.digest)],
            "published": bool(study.published),
        }
        write_file(folder / Artifact.ROWS, json.dumps(table))
        if study.published:
            write_file(folder / Artifact.PUBLISHED, study.published)


def publish_study(study: Study, tracker: Tracker, launch: Launch, found: str = "") -> str:
    """Publish views and the description, with what was found so far; a line if the store does not take them."""
    experiment_id = tracker.experiment_id(study.name)
    # The task of most rows comes first: its views have the plain names.
    views = study_views(task for task, _ in Counter(row.config.task for row in study.rows).most_common())
    note = experiment_note(
        study.name,
        study.description,
        f"{len(study.rows)} rows x {len(study.seeds)} seeds"
        + (f", {len(study.ensembles)} ensembles" if study.ensembles else "")
        + (f", {len(study.systems)} systems" if study.systems else ""),
        launch,
        links(experiment_id, [view for view in views if study.ensembles or view != ENSEMBLES], launch.summary_run_id),
        found,
    )
    return publish(tracker, experiment_id, views, note[:_LONGEST_OF_EXPERIMENT])


def experiment_note(name: str, description: str, size: str, launch: Launch, views: str, found: str = "") -> str:
    """What MLflow's page says above the runs: what they show, of what, where to look, what was found, how it was made.

    MLflow shows the first line alone until it is unfolded: it says what the data are.
    """
    data = launch.data.dataset
    subsets = ", ".join(f"{one.note} {one.heading}".strip() for one in subsets_of(data.format.taxonomy))
    told = f": {' '.join(description.split())}" if description.strip() else ""
    lines = [
        f"**{name}** on `{data.root.name}` ({len(data.clips)} clips){told}",
        "",
        f"Views: {views}",
        "",
        *([found, ""] if found else []),
        f"Dashboards: [leaderboard, devices, runs]({dashboard_link(name)}), served by `asc-study dashboard {name}`.",
        "",
        f"{size} on data of digest `{launch.data.digest[:10]}`, "
        f"each run with accuracy per device subset ({subsets}), intervals over locations, "
        "figures and predictions.",
        "",
        f"Made by `{launch.command}`; as a table: `asc-study leaderboard {name}`; is a difference noise: "
        f"`asc-study compare {name}/ROW {name}/OTHER`.",
    ]
    return "\n".join(lines)


def log_report(tracker: Tracker, study: str, page: str) -> str:
    """Keep a report as an artifact of the run that stands for the study, and name it in the study's description.

    The next launch writes the description anew, for then the report is old. Returns a line if there is no such run, or
    the store does not take it.
    """
    found = tracker.runs(study, kind=Kind.STUDY)
    if not found:
        return (
            f"note: study {study!r} has no run of its own to keep the report (nothing was launched): it is not logged"
        )
    run = found[0]
    try:
        with tracker.artifacts(run.run_id) as folder:
            write_file(folder / Artifact.REPORT, page)
        known = tracker.experiment_tags(run.experiment_id).get(MlflowTag.NOTE, "")
        lines = [line for line in known.splitlines() if not line.startswith(_REPORT)]
        address = f"{run_link(run.experiment_id, run.run_id)}/artifacts/{Artifact.REPORT}"
        note = "\n".join([*lines, f"{_REPORT}[{Artifact.REPORT}]({address})"])
        tracker.client.set_experiment_tag(run.experiment_id, MlflowTag.NOTE, note)
    except Exception as error:  # MLflow's, or whatever a server of another version says: the report itself is written
        return address_line(tracker.uri, "note: {address} does not take the report: {reason}", error)
    return ""


def links(experiment_id: str, views: Sequence[View], summary_run_id: str = "") -> str:
    """Links to views and to the run that compares the others, in Markdown."""
    shown = [f"[{view.name}]({view_link(experiment_id, view.key)})" for view in views]
    if summary_run_id:
        shown.append(f"[tables and figures of all]({run_link(experiment_id, summary_run_id)}/artifacts)")
    return " · ".join(shown)


def compare_rows(study: Study, tracker: Tracker, launch: Launch, *, idle: bool, failed: bool) -> str:
    """Give the study's run the leaderboard as it is now: a table, figures, and in words who gains on unseen devices.

    Of a launch that had nothing to do (``idle``) nothing is written that is there already. Returns a line if the store
    does not take the description.
    """
    published = parse_published(study.published, "published figures") if study.published else None
    definition = define(study, launch.data.digest)
    board = leaderboard(tracker, study.name, definition=definition, order=study.names, published=published)
    run_id = launch.summary_run_id
    status = "FAILED" if failed else "FINISHED"
    if not idle or tracker.status(run_id) != status:
        tracker.finish(run_id, status)
    if not board["seeds"].any():
        return publish_study(study, tracker, launch) if idle else ""
    with tracker.artifacts(run_id) as folder:
        write_file(folder / Artifact.LEADERBOARD, render(board, study.name, "csv") + "\n")
        text = render(board, study.name)
        write_file(folder / Artifact.LEADERBOARD_TEXT, text + "\n")
        shown = board[~board["folded"]].copy()  # of many columns: a view of them is fragmented
        baselines = shown["row"].isin([row.name for row in study.baselines])
        drawn = shown.assign(row=unique_names(shown), baseline=baselines)
        ending = f"<!-- of {_made_of(study, drawn)} -->\n"
        if not tracker.ends_with(run_id, Artifact.SUMMARY, ending):  # to draw takes longer than all before it
            (folder / Artifact.FIGURES).mkdir()
            write_file(folder / Artifact.SUMMARY, _page(study, drawn) + ending)
    found = changes_on_unseen(shown)
    told = publish_study(study, tracker, launch, found)
    looks = links(tracker.experiment_id(study.name), (DEVICES, CHARTS))
    lead = f"All rows of *{study.name}* beside each other: {looks}, and `{Artifact.SUMMARY}` among the artifacts."
    note = "\n\n".join([lead, *([found] if found else []), f"```\n{text}\n```"])
    tracker.set_tags(run_id, {MlflowTag.NOTE: note[:_LONGEST_NOTE]})
    return told


def _page(study: Study, board: pd.DataFrame) -> str:
    """The figures of a leaderboard as a page; `_made_of` covers all that it depends on."""
    from asc_study.figures.page import page
    from asc_study.figures.study import study_figures

    return page(f"Study {study.name}", study.description, study_figures(board), study.figures)


def _made_of(study: Study, board: pd.DataFrame) -> str:
    """The digest of what a page of figures is made of: the table, words of study and data, our code, the libraries."""
    versions = [importlib.metadata.version(name) for name in ("numpy", "pandas", "plotly")]
    words = [study.name, study.description, study.figures, str(known_taxonomies())]
    told = [*versions, *words, package_digest(), *map(str, board.dtypes), board.to_csv()]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def changes_on_unseen(board: pd.DataFrame) -> str:
    """Who gains on devices that no training heard, and whether that is noise, in Markdown; empty without a reference.

    Parameters
    ----------
    board
        A leaderboard with standings, see `asc_study.study.standing.add_standings`.
    """
    unseen = unseen_among(str(name).removesuffix("_change") for name in board)
    change = f"{unseen.metric}_change" if unseen else ""
    if unseen is None or change not in board:
        return ""
    paragraphs = []
    for reference, rows in board[board[change].notna()].sort_values(change, ascending=False).groupby("reference"):
        single = "" if rows["seeds"].max() > 1 else "; of one training each, another seed can change it"
        head = f"On devices that no training heard ({unseen.name}), in points of accuracy against *{reference}*"
        lines = [f"{head} [95 % interval, paired{single}]:", ""]
        for row in rows.head(_MOST_TOLD).to_dict("records"):
            ends = row[f"{change}_lo"], row[f"{change}_hi"]
            between = f" [{ends[0]:+.1f}, {ends[1]:+.1f}]" if np.isfinite(ends).all() else ""
            sure = "more than noise" if row[f"{change}_significant"] else "may be noise"
            lines.append(f"- {row['row']}: {row[change]:+.1f}{between}, {sure}")
        if len(rows) > _MOST_TOLD:
            lines.append(f"- and {len(rows) - _MOST_TOLD} more, which change less or lose")
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)
