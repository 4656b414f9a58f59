import pandas as pd

from asc_study.base.taxonomy import Taxonomy, know
from asc_study.data.clips import as_of_reference, describe, paired_clips


def test_describe_counts_by_split_scene_and_device():
    clips = [
        *[("test", "tram", device) for device in ("s4", "s4", "a")],
        *[("train", "tram", "a")] * 3,
        *[("train", "bus", device) for device in ("b", "a", "a")],
    ]
    counts = describe(pd.DataFrame(clips, columns=["split", "scene", "device"]))
    assert list(counts.columns) == ["a", "b", "s4", "total"]
    assert counts.index.tolist() == [("train", "bus"), ("train", "tram"), ("test", "tram")]
    assert counts.to_numpy().tolist() == [[2, 1, 0, 3], [3, 0, 0, 3], [1, 0, 2, 3]]


def test_pairs_are_the_sounds_that_two_devices_recorded():
    clips = pd.DataFrame(
        [
            ("bus-oslo-1-7-s1", "s1"),
            ("bus-oslo-1-7-a", "a"),
            ("bus-oslo-1-7-b", "b"),
            ("bus-oslo-1-8-b", "b"),
            ("bus-oslo-1-9-a", "a"),
            ("bus-oslo-1-9-b", "b"),
            ("bus-oslo-2-7-s1", "s1"),
        ],
        columns=["clip_id", "device"],
        index=range(7, 0, -1),
    )
    assert paired_clips(clips, "b").tolist() == [[1, 2], [4, 5]]
    assert paired_clips(clips, "s1").tolist() == [[1, 0]]
    assert paired_clips(clips, "s1", reference="b").tolist() == [[2, 0]]
    assert paired_clips(clips, "s3").shape == (0, 2)


def test_augmentations_know_the_reference_device_of_any_data_set():
    know(Taxonomy((("rooms", ("hall", "yard")),), (), ("mic", "phone"), ("mic", "phone"), "phone", ()))
    clips = pd.DataFrame({"clip_id": ["1-phone", "1-mic", "2"], "device": ["phone", "mic", "phone"]})
    called = as_of_reference(clips)
    assert called["device"].tolist() == ["a", "mic", "a"]
    assert called["clip_id"].tolist() == ["1-a", "1-mic", "2"]
    assert paired_clips(called, "mic").tolist() == [[0, 1]]
    of_tau = pd.DataFrame({"clip_id": ["x-a", "x-b"], "device": ["a", "b"]})
    assert as_of_reference(of_tau) is of_tau
