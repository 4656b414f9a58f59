"""The run that stands for a study as a whole, and what MLflow's page says of the study: made anew by each launch."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Final

from asc_study.base.contract import Artifact, MlflowTag
from asc_study.base.files import write_file
from asc_study.settings.published import parse_published
from asc_study.settings.study_file import Study
from asc_study.store.tracking import Tracker
from asc_study.store.views import CHARTS, DEVICES, ENSEMBLES, View, publish, study_views, view_link
from asc_study.study.definition import define
from asc_study.study.launch import Launch
from asc_study.study.leaderboard import leaderboard
from asc_study.study.leaderboard_forms import render, unique_names
from asc_study.study.plan import specs

#: MLflow keeps 8,000 characters of a tag.
_LONGEST_NOTE: Final = 7900


def describe_study(study: Study, tracker: Tracker, launch: Launch) -> str:
    """Log what the study is and publish its views; returns a line if the store does not take them."""
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
        links(experiment_id, [view for view in views if study.ensembles or view != ENSEMBLES]),
    )
    return publish(tracker, experiment_id, views, note)


def experiment_note(name: str, description: str, size: str, launch: Launch, views: str) -> str:
    """What MLflow's page says above the runs: what they show, of what, how they were made, where to look."""
    data = launch.data.dataset
    lines = [
        f"**{name}**{': ' + ' '.join(description.split()) if description.strip() else ''}",
        "",
        f"Views: {views}",
        "",
        f"{size} on `{data.root.name}` ({len(data.clips)} clips, digest `{launch.data.digest[:10]}`), "
        "each run with accuracy per device subset (A, B&C, seen s1-s3, unseen s4-s6), intervals over locations, "
        f"figures and predictions. The run `{name} (study)` compares them.",
        "",
        f"Made by `{launch.command}`; as a table: `asc-study leaderboard {name}`; is a difference noise: "
        f"`asc-study compare {name}/ROW {name}/OTHER`.",
    ]
    return "\n".join(lines)


def links(experiment_id: str, views: Sequence[View]) -> str:
    """Links to views, in Markdown."""
    return " · ".join(f"[{view.name}]({view_link(experiment_id, view.key)})" for view in views)


def compare_rows(study: Study, tracker: Tracker, launch: Launch, *, failed: bool) -> None:
    """Give the study's run the leaderboard as it is now: a table and a figure."""
    from asc_study.figures.page import page
    from asc_study.figures.study import study_figures

    published = parse_published(study.published, "published figures") if study.published else None
    definition = define(study, launch.data.digest)
    board = leaderboard(tracker, study.name, definition=definition, order=study.names, published=published)
    run_id = launch.summary_run_id
    tracker.finish(run_id, "FAILED" if failed else "FINISHED")
    if not board["seeds"].any():
        return
    with tracker.artifacts(run_id) as folder:
        write_file(folder / Artifact.LEADERBOARD, render(board, study.name, "csv") + "\n")
        text = render(board, study.name)
        write_file(folder / Artifact.LEADERBOARD_TEXT, text + "\n")
        shown = board[~board["folded"]]
        baselines = shown["row"].isin([row.name for row in study.baselines])
        figures = study_figures(shown.assign(row=unique_names(shown), baseline=baselines))
        html = page(f"Study {study.name}", study.description, figures, study.figures)
        (folder / Artifact.FIGURES).mkdir()
        write_file(folder / Artifact.SUMMARY, html)
    looks = links(tracker.experiment_id(study.name), (DEVICES, CHARTS))
    lead = f"All rows of *{study.name}* beside each other: {looks}, and `{Artifact.SUMMARY}` among the artifacts."
    note = f"{lead}\n\n```\n{text}\n```"
    tracker.set_tags(run_id, {MlflowTag.NOTE: note[:_LONGEST_NOTE]})
