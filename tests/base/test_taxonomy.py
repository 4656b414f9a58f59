import json
from dataclasses import replace

import pytest

from asc_study.base import taxonomy as words
from asc_study.base.errors import InputError
from asc_study.base.metric_table import (
    BY_NAME,
    SUBSETS,
    columns_among,
    direction,
    find_metric,
    gap_among,
    gap_of,
    require_objective,
    subsets_among,
    subsets_of,
    unseen_among,
)
from asc_study.base.taxonomy import CLASSES, SCENES, TAU, Taxonomy, know, know_told, taxonomy_for, taxonomy_tag

ROOMS = Taxonomy(
    tasks=(("rooms", ("bath", "hall", "kitchen", "yard")), ("rooms-groups", ("inside", "outside"))),
    groups=(("bath", "inside"), ("hall", "inside"), ("kitchen", "inside"), ("yard", "outside")),
    devices=("phone1", "phone2", "mic"),
    seen_devices=("phone1", "phone2"),
    reference_device="phone1",
    subsets=(("phones", ("phone1", "phone2")), ("mic", ("mic",))),
)


def test_only_tau_is_known_before_data_are_read():
    assert dict(CLASSES) == TAU.classes
    assert words.known_taxonomies() == (TAU,)
    with pytest.raises(InputError, match="the task must be one of ten_class, three_class, got 'rooms'"):
        words.taxonomy_of_task("rooms")


def test_a_data_set_that_was_read_is_found_by_what_its_clips_hold():
    know(ROOMS)
    assert taxonomy_for(["mic", "phone1"]) == ROOMS
    assert taxonomy_for(["a", "s5"], SCENES) == TAU
    assert taxonomy_for(["phone1"], SCENES) == TAU  # classes tell more than devices
    assert taxonomy_for(["never met"]) == ROOMS  # the one read last
    assert CLASSES["rooms"] == ("bath", "hall", "kitchen", "yard")
    assert [words.label_column(task) for task in ROOMS.classes] == ["scene", "scene_group"]
    assert ROOMS.group_columns == (0, 0, 0, 1)


def test_a_run_tells_the_words_of_its_data_set():
    assert taxonomy_tag(TAU) == {}
    (text,) = taxonomy_tag(ROOMS).values()
    know_told(text)
    assert words.known_taxonomies() == (TAU, ROOMS)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"tasks": 1}', json.dumps({"tasks": [], "groups": []})])
def test_a_tag_that_a_person_changed_tells_nothing(text):
    know_told(text)
    assert words.known_taxonomies() == (TAU,)


def test_a_task_of_tau_keeps_its_classes():
    with pytest.raises(InputError, match="the task 'ten_class' has the classes of TAU's data sets"):
        know(Taxonomy((("ten_class", ("a", "b")),), (), ("x",), ("x",), "x", (("x", ("x",)),)))


def test_metrics_have_the_words_of_the_data_set():
    know(ROOMS)
    assert [subset.title for subset in subsets_of(ROOMS)] == ["phones (seen)", "mic (unseen)"]
    assert subsets_of(TAU) == SUBSETS
    assert [one.name for one in columns_among({"acc_mic", "acc_avg"})] == [
        "acc_phones",
        "acc_mic",
        "log_loss",
        "acc_avg",
    ]
    assert subsets_among({"test/acc_A"}) == SUBSETS == subsets_among(())
    assert unseen_among({"acc_mic"}).heard == "never heard"
    assert BY_NAME["device_acc_mic"].heading == "mic"
    assert find_metric("test/scene_acc_yard").direction == "maximize" == direction("validation/acc_phones_lo")
    assert require_objective("validation/acc_mic") == "acc_mic"


def test_what_no_data_set_has_is_no_metric():
    assert find_metric("test/acc_mic") is None
    with pytest.raises(InputError, match="must be a known metric, got 'acc_mic'"):
        require_objective("acc_mic")
    with pytest.raises(KeyError):
        BY_NAME["mean_of_all"]


def test_the_gap_is_that_of_the_data_set():
    know(ROOMS)
    assert gap_of(TAU).difference_of == ("acc_A", "acc_s4-s6")
    gap = gap_of(ROOMS)
    assert (gap.name, gap.difference_of) == ("gap_to_unseen", ("device_acc_phone1", "acc_mic"))
    assert gap_among({gap.name, *gap.difference_of}) == gap
    assert gap_among({"gap_to_unseen"}) is None


def test_data_at_hand_outrank_what_runs_tell():
    older = replace(ROOMS, tasks=(("rooms", ("bath", "yard")),), groups=())
    know(ROOMS)
    (text,) = taxonomy_tag(older).values()
    know_told(text)  # the classes of the data set were others once
    assert CLASSES["rooms"] == ROOMS.classes["rooms"]
    assert words.taxonomy_of_task("rooms") == ROOMS
    assert words.task_of_classes(("bath", "yard")) == "rooms"  # its predictions can still be read
    assert taxonomy_for(["mic"], ("bath", "yard")) == older
