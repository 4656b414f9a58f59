import numpy as np
import optuna
import pytest
from made_up import sentence

from asc_study.figures.search import search_figures

optuna.logging.set_verbosity(optuna.logging.ERROR)


def study(trials: int, *, directions: tuple[str, ...] = ("maximize",)) -> optuna.Study:
    """Trial n has 0.5 + n/1000, if n is odd 0.5 - n/1000."""

    def value(trial: optuna.Trial) -> float:
        trial.suggest_float("training.lr_max", 1e-4, 1e-1, log=True)
        trial.suggest_categorical("batch_augmentation.mixup", ["off", "on"])
        trial.suggest_int("model.n_filters", 4, 9)
        found = 0.5 + (-1) ** trial.number * trial.number / 1000
        if len(directions) > 1:
            return found, 1000.0 * trial.number
        for epoch in range(3):
            trial.report(found, epoch)
        return found

    made = optuna.create_study(directions=directions, sampler=optuna.samplers.RandomSampler(seed=0))
    made.optimize(value, n_trials=trials)
    return made


def titles(figures) -> list[str]:
    return [figure.layout.title.text.partition("?")[0] for figure in figures]


def test_few_trials_have_no_importances_and_contours_and_the_page_says_how_many_are_needed():
    figures = search_figures(study(6), ["holdout/acc"], base=[0.5])
    assert titles(figures) == [
        "Did the search find anything",
        "What does each parameter do",
        "How did the trials learn",
        "Where did the time go",
    ]
    assert "from 30 complete trials on, 10 a parameter; there are 6" in sentence(figures[1])


@pytest.mark.filterwarnings("ignore")
def test_enough_trials_have_importances_in_per_cent_and_contours_of_numbers():
    figures = dict(zip(titles(found := search_figures(study(30), ["holdout/acc"], base=[0.5])), found, strict=True))
    (bars,) = figures["Which parameters matter"].data
    assert sum(bars.x) == pytest.approx(100)
    contours = figures["Where are good values"]
    names = {axis.title.text for axis in (*contours.select_xaxes(), *contours.select_yaxes())}
    assert names == {"lr_max", "n_filters"}


def test_parameters_stand_on_the_axes_that_they_are_searched_on():
    figure = search_figures(study(6), ["holdout/acc"], base=[0.5])[1]
    types = {axis.title.text: axis.type for axis in figure.select_xaxes()}
    assert types == {"lr_max": "log", "mixup": "category", "n_filters": "linear"}


def test_shares_are_in_per_cent_beside_the_base_and_the_noise():
    history, slices, curves, _ = search_figures(study(6), ["holdout/acc"], base=[0.5], noise=0.03)
    np.testing.assert_allclose(history.data[0].y, [50, 49.9, 50.2, 49.7, 50.4, 49.5])
    np.testing.assert_allclose(history.data[1].y, [50, 50, 50.2, 50.2, 50.4, 50.4])
    assert history.layout.yaxis.title.text == curves.layout.yaxis.title.text == "holdout/acc (%)"
    assert {(shape.y0, shape.y1) for shape in history.layout.shapes} == {(50, 50), (47, 53)}
    assert len(slices.layout.shapes) == 6  # a line and a band in each panel
    assert sentence(history) == (
        "Trial 4 is best of 6 complete ones: 50.4 %, 0.4 points above the base (50.0 %): not more than the noise of "
        "3.0 points (grey band)."
    )
    assert "more than the noise of 0.1 points" in sentence(
        search_figures(study(6), ["holdout/acc"], base=[0.5], noise=0.001)[0]
    )


def test_without_a_base_the_page_says_that_the_gain_is_unknown():
    history = search_figures(study(6), ["holdout/acc"])[0]
    assert not history.layout.shapes
    assert "The base was not measured" in sentence(history)


def test_epochs_begin_with_one_and_the_best_trial_stands_out():
    curves = search_figures(study(6), ["holdout/acc"], base=[0.5])[2]
    lines = {trace.name: trace for trace in curves.data}
    assert list(lines["best"].x) == [1, 2, 3]
    np.testing.assert_allclose(lines["best"].y, [50.4] * 3)
    assert {"complete", "best"} == lines.keys()
    assert [shape.y0 for shape in curves.layout.shapes] == [50]


def test_several_objectives_have_a_front_and_keep_their_units():
    metrics = ["holdout/acc", "cost/parameters"]
    figures = search_figures(study(6, directions=("maximize", "minimize")), metrics, base=[0.5, 2500])
    front = figures[-2]
    assert titles([front]) == ["What does one objective cost in the other"]
    assert front.layout.yaxis.title.text == "holdout/acc (%)"
    assert front.layout.xaxis.title.text == "cost/parameters (parameters)"
    best = {trace.name: trace for trace in front.data}["no trial is better in all"]
    assert sorted(best.customdata) == [0, 2, 4]
    assert "3 of 6" in sentence(front)
    base = {trace.name: trace for trace in front.data}["base"]
    assert (list(base.x), list(base.y)) == ([2500], [50])


def test_a_search_without_complete_trials_has_no_figure_of_values():
    made = optuna.create_study()
    assert search_figures(made, ["holdout/acc"]) == []
    made.ask()
    assert titles(search_figures(made, ["holdout/acc"])) == ["Where did the time go"]


def test_drawing_changes_nothing_in_the_study():
    made = study(4)
    before = [(trial.params, trial.values, trial.intermediate_values) for trial in made.trials]
    search_figures(made, ["holdout/acc"], base=[0.5])
    assert [(trial.params, trial.values, trial.intermediate_values) for trial in made.trials] == before
