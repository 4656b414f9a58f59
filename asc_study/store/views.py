"""What a person sees in MLflow's own page: named views of a study's runs, and links that open them.

A view is an experiment tag ``mlflow.sharedViewState.<key>`` in the private format of MLflow's page (tried with 3.17):
JSON with a name and the page's state, deflated. A page that no longer understands it shows its own table instead; a
store that refuses it loses nothing but the view, so `publish` never raises.
"""

import base64
import json
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from asc_study.base.contract import Kind, MlflowTag, Tag
from asc_study.base.metric_table import ALL_CLIPS, BY_NAME, full_name, gap_of, subsets_among, subsets_of
from asc_study.base.taxonomy import TAU, Taxonomy, taxonomy_of_task
from asc_study.store.addresses import SQLITE, address_line
from asc_study.store.queries import Reader

#: Where `mlflow ui` serves if nothing else is said.
_LOCAL_PAGE: Final = "http://127.0.0.1:5000"

#: Where `asc-study dashboard` serves if nothing else is said.
_DASHBOARDS: Final = "http://127.0.0.1:8050"

#: Runs that one chart compares.
_IN_A_CHART: Final = 30


def _without(*kinds: str) -> str:
    """A filter in MLflow's language, which knows no list of values."""
    return " AND ".join(f"tags.`{Tag.KIND}` != '{kind}'" for kind in kinds)


@dataclass(frozen=True)
class Chart:
    """A chart of a view: bars of one metric, lines over the epochs, or one metric against another."""

    section: str
    metrics: tuple[str, ...]
    kind: str = "BAR"
    title: str = ""


@dataclass(frozen=True)
class View:
    """A named view: which runs, in which order, with which columns, or as charts.

    Attributes
    ----------
    key
        Its name in links.
    name
        Its name in MLflow's menu of views.
    columns
        Metrics, ``params.`` and ``tags.`` that are shown.
    order_by
        The metric that the runs are sorted by.
    ascending
        Whether the lowest comes first.
    runs
        A filter in MLflow's language.
    charts
        If there are any, the view opens as charts.
    """

    key: str
    name: str
    columns: tuple[str, ...]
    order_by: str
    ascending: bool = False
    runs: str = _without(Kind.STUDY, Kind.SEARCH, Kind.TRIAL)
    charts: tuple[Chart, ...] = field(default=())


_ROWS: Final = (Tag.ROW, Tag.SEED)


def _test(*names: str) -> tuple[str, ...]:
    return tuple(full_name(name, "test") for name in names)


def _tags(*names: str) -> tuple[str, ...]:
    return tuple(f"tags.{name}" for name in names)


_AVERAGE: Final = full_name(ALL_CLIPS.metric, "test")
_COSTS: Final = ("cost/parameters", "cost/model_kb", "cost/macs", "cost/latency_ms")


def _of_studies(taxonomy: Taxonomy) -> tuple[View, View, View, View]:
    """The views of a study on a data set: devices, systems, ensembles and charts."""
    subsets, gap = subsets_of(taxonomy), gap_of(taxonomy)
    accuracies = (*_test(*(subset.metric for subset in subsets)), _AVERAGE, *_test("log_loss"))
    unseen_title = "Accuracy on unseen devices against kB"
    unseen = _test(*(subset.metric for subset in subsets if subset.unseen))
    return (
        View(
            "devices",
            "Devices",
            (*accuracies, *_test(*([gap.name] if gap else [])), *_tags(*_ROWS, Tag.SYSTEM)),
            _AVERAGE,
        ),
        View(
            "systems",
            "Systems",
            (_AVERAGE, *unseen, *_COSTS, "params.architecture", *_tags(*_ROWS, Tag.SYSTEM, Tag.KIND)),
            "cost/parameters",
            ascending=True,
            runs=_without(Kind.STUDY, Kind.SEARCH, Kind.TRIAL, Kind.ENSEMBLE, Kind.FUSION),
        ),
        View(
            "ensembles",
            "Ensembles",
            (*accuracies, *_tags(*_ROWS, Tag.SYSTEM, Tag.BASIS)),
            _AVERAGE,
            runs=f"tags.`{Tag.MEMBERS}` IS NOT NULL",
        ),
        View(
            "charts",
            "Charts",
            (_AVERAGE,),
            _AVERAGE,
            charts=(
                *(
                    Chart("Accuracy per device subset", _test(one.metric), title=f"Accuracy, {one.title}")
                    for one in (*subsets, ALL_CLIPS)
                ),
                Chart("Learning curves", ("epoch/train_loss",), "LINE", "Training loss"),
                Chart("Learning curves", ("epoch/validation_acc",), "LINE", "Validation accuracy"),
                Chart("Size and accuracy", ("cost/model_kb", _AVERAGE), "SCATTER", "Accuracy against kB of weights"),
                *(Chart("Size and accuracy", ("cost/model_kb", one), "SCATTER", unseen_title) for one in unseen),
            ),
        ),
    )


#: The views of a study on TAU's data sets.
OF_STUDIES: Final = _of_studies(TAU)
DEVICES, SYSTEMS, ENSEMBLES, CHARTS = OF_STUDIES


def study_views(tasks: Iterable[str]) -> tuple[View, ...]:
    """The views of a study; each of several tasks has its own devices and charts: their accuracies do not compare."""
    names = list(dict.fromkeys(tasks))
    of_data = _of_studies(taxonomy_of_task(names[0])) if names else OF_STUDIES
    if len(names) < 2:
        return of_data
    views: list[View] = []
    for view in of_data:
        if view.key in (SYSTEMS.key, ENSEMBLES.key):
            views.append(view)
            continue
        for number, task in enumerate(names):
            runs = f"{view.runs} AND tags.`{Tag.TASK}` = '{task}'"
            key = view.key if number == 0 else f"{view.key}-{task}"
            name = view.name if number == 0 else f"{view.name} ({task.replace('_', '-')})"
            views.append(replace(view, key=key, name=name, runs=runs))
    return tuple(views)


def trials_view(metric: str, *, ascending: bool) -> View:
    """The view of a search's trials, the best first."""
    costs = ("cost/model_kb", "cost/trial_seconds", "cost/trained_epochs")
    columns = dict.fromkeys((metric, "validation/acc_device_macro", *costs, *_tags(Tag.TRIAL, Tag.STATE)))
    return View(
        "trials",
        "Trials",
        tuple(columns),
        metric,
        ascending,
        f"{_without(Kind.STUDY, Kind.SEARCH)} AND tags.`{Tag.OPTUNA_STUDY}` IS NOT NULL",
    )


def publish(tracker: Reader, experiment_id: str, views: Iterable[View], note: str) -> str:
    """Give an experiment its views and its description; returns one line if the store refuses, else an empty text."""
    tags = {MlflowTag.EXPERIMENT_KIND: "custom_model_development", MlflowTag.NOTE: note}
    try:
        known = tracker.experiment_tags(experiment_id)
        tags |= {MlflowTag.VIEW + view.key: _written(view, known.get(MlflowTag.VIEW + view.key, "")) for view in views}
        for name, text in tags.items():
            if known.get(name) != text:
                tracker.client.set_experiment_tag(experiment_id, name, text)
    except Exception as error:  # MLflow's, or whatever a server of another version says: views are no result
        return address_line(tracker.uri, "note: {address} does not take MLflow views: {reason}", error)
    return ""


def page_address(uri: str) -> str:
    """Where MLflow's page of a store is: the server itself, without what its address says of a user, or `mlflow ui`."""
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https") and parts.hostname:
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
    return _LOCAL_PAGE


def dashboard_link(study: str) -> str:
    """The leaderboard of a study in the dashboards, where they are served if nothing else is said."""
    return f"{_DASHBOARDS}/?{urlencode({'study': study})}"


def needs_server(uri: str) -> str:
    """The command that serves a store's page; empty if it is served already."""
    if urlsplit(uri).scheme in ("http", "https"):
        return ""
    if uri.startswith(SQLITE):
        return "mlflow ui" if uri.endswith("/mlflow.db") else f"mlflow ui --backend-store-uri {uri}"
    return address_line(uri, "mlflow ui --backend-store-uri {address}")


def view_link(experiment_id: str, key: str, *, page: str = "") -> str:
    """The address of a view by its key; without a page it is one that works within MLflow's own descriptions."""
    mode = "compareRunsMode=CHART&" if key.startswith(CHARTS.key) else ""
    return f"{page}{'/' if page else ''}#/experiments/{experiment_id}/runs?{mode}viewStateShareKey={key}"


def run_link(experiment_id: str, run_id: str) -> str:
    """The address of a run, for MLflow's own descriptions."""
    return f"#/experiments/{experiment_id}/runs/{run_id}"


def _written(view: View, known: str) -> str:
    """A view in the format of MLflow's page; one that is there already in the same state stays as it is."""
    state = json.dumps(_state(view), separators=(",", ":"), sort_keys=True)
    if known:
        try:
            if _inflate(json.loads(known)["state"]) == state:
                return known
        except (ValueError, KeyError, TypeError, zlib.error):
            pass  # written by another version or by hand: made anew
    now = int(time.time() * 1000)
    deflated = "deflate;" + base64.b64encode(zlib.compress(state.encode(), 9)).decode()
    return json.dumps({"name": view.name, "createdAt": now, "updatedAt": now, "state": deflated})


def _inflate(state: str) -> str:
    return zlib.decompress(base64.b64decode(state.removeprefix("deflate;"))).decode()


def _state(view: View) -> dict[str, Any]:
    state: dict[str, Any] = {
        "searchFilter": view.runs,
        "orderByKey": f"metrics.`{view.order_by}`",
        "orderByAsc": view.ascending,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [_column(name) for name in view.columns],
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runListHidden": False,
        "viewMaximized": False,
        "groupBy": None,
        "useGroupedValuesInCharts": True,
    }
    if view.charts:
        state |= {
            "runsHiddenMode": "SHOWALL",
            "isAccordionReordered": True,
            "hideEmptyCharts": True,
            "compareRunSections": _sections(view.charts),
            "compareRunCharts": [_chart(number, chart) for number, chart in enumerate(view.charts)],
        }
    return state


def _column(name: str) -> str:
    kind, dot, key = name.partition(".")
    return f"{kind}.`{key}`" if dot and kind in ("params", "tags") else f"metrics.`{name}`"


def _section(name: str) -> str:
    return "asc-" + name.lower().replace(" ", "-")


def _sections(charts: Sequence[Chart]) -> list[dict[str, Any]]:
    fixed = {"display": True, "isReordered": True, "deleted": False, "isGenerated": False}
    kinds = {one.section: one.kind for one in charts}
    # The names of curves and axes are long: with three charts beside each other they are cut.
    return [
        {"uuid": _section(name), "name": name, "columns": 3 if kind == "BAR" else 2, **fixed}
        for name, kind in kinds.items()
    ]


def _chart(number: int, chart: Chart) -> dict[str, Any]:
    first, last = chart.metrics[0], chart.metrics[-1]
    of_kind: Mapping[str, dict[str, Any]] = {
        "BAR": {"metricKey": first},
        "LINE": {"metricKey": first, "selectedMetricKeys": list(chart.metrics), "xAxisKey": "step"},
        "SCATTER": {"xaxis": {"key": first, "type": "METRIC"}, "yaxis": {"key": last, "type": "METRIC"}},
    }
    return {
        "uuid": f"asc-{number}",
        "type": chart.kind,
        "metricSectionId": _section(chart.section),
        "displayName": chart.title,
        "runsCountToCompare": _IN_A_CHART,
        "deleted": False,
        "isGenerated": False,
        **of_kind[chart.kind],
    }


def markdown_table(metrics: Mapping[str, float]) -> str:
    """Accuracy per device subset with its 95 % interval in per cent and the log loss, as a table in Markdown.

    One line for each of test and validation that has figures; empty if none has.
    """
    columns = (*subsets_among(metrics), ALL_CLIPS)
    lines = []
    for split in ("test", "validation"):
        cells = [_share(metrics, full_name(column.metric, split)) for column in columns]
        loss = metrics.get(full_name("log_loss", split))
        if any(cells):
            cells = [cell or "-" for cell in cells]
            lines.append(f"| {split} | {' | '.join(cells)} | {'-' if loss is None else f'{loss:.2f}'} |")
    if not lines:
        return ""
    titles = [*(column.title for column in columns), BY_NAME["log_loss"].heading]
    head = [f"| accuracy in % [95 % interval] | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    return "\n".join([*head, *lines])


def _share(metrics: Mapping[str, float], name: str) -> str:
    value = metrics.get(name)
    if value is None:
        return ""
    ends = [metrics.get(f"{name}_{end}") for end in ("lo", "hi")]
    shown = [f"{100 * end:.1f}" for end in ends if end is not None]
    return f"{100 * value:.1f}" + (f" [{', '.join(shown)}]" if len(shown) == len(ends) else "")
