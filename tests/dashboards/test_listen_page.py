"""The page that plays: augmentations as training makes them, one sound on every device, the hardest clips."""

import dataclasses
import io
import shutil

import numpy as np
import pytest
import soundfile
from logged_runs import log

from asc_study.augmentation import AUGMENTATIONS, WAVEFORM_AUGMENTATIONS, waveform_augmentations
from asc_study.augmentation.copies import plan_copies
from asc_study.augmentation.waveform import TrainingSound
from asc_study.data.identity import audio_digests
from asc_study.data.layout import read_dataset
from asc_study.evaluation.predictions import predictions_table
from asc_study.features.audio import read_audio
from asc_study.store.queries import Reader
from dashboards import augmented, recordings
from dashboards.app import create_app
from dashboards.augmentation_settings import MOST_DRAWS, features_of, settings_of
from dashboards.blocks import Figure, Live, Note, Table
from dashboards.kept import Kept
from dashboards.pages import PAGES
from dashboards.pages.listen import PAGE, Listen
from dashboards.report import _more
from dashboards.source import Source
from dashboards.state import decode, encode


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    monkeypatch.setattr(augmented, "_made", Kept(4))
    monkeypatch.setattr(augmented, "_plans", Kept(4))


@pytest.fixture
def clips(simulated):
    return read_dataset(simulated).clips.set_index("clip_id", drop=False)


@pytest.fixture
def clip_of(clips):
    """A function that gives a test clip of a device."""
    return lambda device: str(clips.query("split == 'test' and device == @device").index[0])


def figures(blocks):
    return {block.name: block.figure for block in blocks if isinstance(block, Figure)}


def sentence(blocks, name="augmentation"):
    return figures(blocks)[name].layout.meta["sentence"].replace("\N{NO-BREAK SPACE}", " ")


def notes(blocks):
    return " ".join(f"{block.text} {block.command}" for block in blocks if isinstance(block, Note))


def patient(reader, folder):
    return Source(reader, ("s",), folder, patience=60)


def value_of(controls, name):
    return next(one.value for one in controls if one.name == name)


def test_it_is_offered_where_there_are_recordings(source, heard):
    def offered(one):
        client = create_app(one).server.test_client()
        body = {
            "output": "..content.children...head.children...nav.children...tick.disabled...tick.interval..",
            "outputs": [],
            "inputs": [
                {"id": "url", "property": "pathname", "value": "/"},
                {"id": "url", "property": "search", "value": ""},
                {"id": "theme", "property": "data", "value": "light"},
                {"id": "tick", "property": "n_intervals", "value": 0},
            ],
            "changedPropIds": ["url.pathname"],
            "state": [],
        }
        names = ("content.children", "head.children", "nav.children", "tick.disabled", "tick.interval")
        body["outputs"] = [dict(zip(("id", "property"), name.split("."), strict=True)) for name in names]
        return client.post("/_dash-update-component", json=body).text

    assert '"Listen"' not in offered(source)
    assert '"Listen"' in offered(heard)


def test_without_recordings_the_command_is_told_and_the_hardest_clips_are_listed(source):
    blocks = PAGE.blocks(source, Listen())
    assert "asc-study dashboard s --data DIR" in notes(blocks)
    assert list(figures(blocks)) == ["right"]
    (table,) = [block for block in blocks if isinstance(block, Table)]
    assert not table.sounds
    assert not table.links


@pytest.mark.parametrize("name", WAVEFORM_AUGMENTATIONS)
def test_every_waveform_augmentation_is_seen_and_heard(heard, clip_of, name):
    state = Listen(row="plain", clip=clip_of("a"), augmentation=name)
    blocks = PAGE.blocks(heard, state)
    drawn = figures(blocks)["augmentation"].data
    assert [one.name for one in drawn] == (
        ["before", "what is added", "after"] if name == "mix" else ["before", "after"]
    )
    assert (np.asarray(drawn[0].z) != np.asarray(drawn[-1].z)).any()
    assert "the level changes by" in sentence(blocks)
    answer = create_app(heard).server.test_client().get(f"/augmented.wav?{encode(state)}")
    assert (answer.status_code, answer.mimetype) == (200, "audio/wav")
    played, rate = soundfile.read(io.BytesIO(answer.data))
    assert (len(played), rate) == (44_100, 44_100)
    players = next(block for block in blocks if isinstance(block, Live))
    assert f"/augmented.wav?{encode(state)}" in str(players.component)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_batch_augmentation_is_seen_or_told_why_not(heard, clip_of, name):
    state = Listen(clip=clip_of("b"), augmentation=name)
    blocks = PAGE.blocks(heard, state)
    refused = {"random_crop": "at most the", "channel_confusion": "needs stereo clips"}
    if name in refused:
        assert refused[name] in notes(blocks)
        assert "augmentation" not in figures(blocks)
        assert "devices" in figures(blocks)
    else:
        assert figures(blocks)["augmentation"].layout.coloraxis.cmax == 1
        players = next(block for block in blocks if isinstance(block, Live))
        assert "what comes out can be seen, not heard" in str(players.component)
    answer = create_app(heard).server.test_client().get(f"/augmented.wav?{encode(state)}")
    assert answer.status_code == 404
    assert answer.text.count("\n") == 1


def test_a_copy_is_that_which_training_would_make(heard, clips, clip_of, isolated):
    clip = clip_of("s4")
    made = augmented.make(heard, Listen(clip=clip, augmentation="pitch_shift", draw=2))
    path = clips["path"][clip]
    sound = TrainingSound(
        clips=clips.loc[[clip]].reset_index(drop=True),
        digests=audio_digests([path], cache=isolated),
        sample_rate=44_100,
        cache=isolated,
    )
    parts = waveform_augmentations({"pitch_shift": {"copies": 3}})
    ((_, copies),) = plan_copies(parts, sound)
    np.testing.assert_array_equal(made.sound, copies[2].load(44_100, 1))
    assert not np.array_equal(made.sound, copies[1].load(44_100, 1))


def test_what_copies_device_a_alone_is_shown_on_its_recording_of_the_sound(heard, clips, clip_of):
    clip = clip_of("s5")
    made = augmented.make(heard, Listen(clip=clip, augmentation="spectrum_correction"))
    assert made.clip == clip.removesuffix("-s5") + "-a"
    assert "It copies clips of device a alone" in made.sentence
    assert made.sound.shape == read_audio(clips["path"][made.clip], 44_100, 1).shape


def test_training_pairs_alone_are_measured(heard, clips, clip_of):
    company = augmented._training_sound(heard, clip_of("a")).clips
    assert set(company["split"][1:]) == {"train"}
    assert company["split"][0] == "test"
    assert len(company) < 60


def test_mixup_tells_the_label_that_its_picture_has(heard, clip_of):
    state = Listen(clip=clip_of("c"), augmentation="mixup", draw=1)
    made = augmented.make(heard, state)
    first, (title, other), after = made.panels["before"], *made.others.items(), made.panels["after"]
    assert recordings.clips_of(heard)["scene"][other].replace("_", " ") in title
    share = float(made.sentence.rpartition("becomes ")[2].split("\N{NO-BREAK SPACE}")[0]) / 100
    mixed = share * first.values + (1 - share) * made.panels[title].values
    np.testing.assert_allclose(after.values, mixed, atol=1e-3)


def test_another_draw_is_another_link_and_another_sound(heard, clip_of):
    state = Listen(clip=clip_of("a"), augmentation="noise")
    players = next(block for block in PAGE.blocks(heard, state) if isinstance(block, Live))
    assert "draw=1" in str(players.component)
    one, other = (augmented.make(heard, dataclasses.replace(state, draw=draw)).sound for draw in (0, 1))
    assert not np.array_equal(one, other)
    again = augmented.make(heard, dataclasses.replace(state, draw=MOST_DRAWS)).sound
    np.testing.assert_array_equal(one, again)


def test_results_that_are_kept_are_few(heard, clip_of):
    for draw in range(6):
        augmented.make(heard, Listen(clip=clip_of("a"), augmentation="noise", draw=draw))
    assert len(augmented._made) == 4


def test_settings_are_those_of_the_study(tracker, clips, clip_of, simulated):
    test = clips.query("split == 'test'").reset_index(drop=True)
    drawn = np.random.default_rng(0).dirichlet(np.ones(10), len(test)).astype(np.float32)
    run = log(tracker, "loud", {"test": predictions_table(test, drawn, "ten_class")}, study="t")
    params = {
        "waveform_augmentation.noise.amplitude": "0.5",
        "waveform_augmentation.noise.copies": "1",
        "waveform_augmentation.reverb_drc.impulse_responses": "/etc",
        "waveform_augmentation.speed_change.low_factor": "'no number'",
        "features.n_mels": "40",
        "features.hop_length": "2048",
    }
    for name, value in params.items():
        tracker.client.log_param(run, name, value)
    source = Source(Reader(tracker.uri), ("t",), simulated)
    made = augmented.make(source, Listen(clip=clip_of("a"), augmentation="noise"))
    assert made.panels["after"].values.shape[0] == 40
    assert made.sentence.startswith("Add white noise, 0.5 * N(0, 1)")
    assert "(as loud has it)" in made.sentence
    made = augmented.make(source, Listen(clip=clip_of("a"), augmentation="speed_change"))
    assert "Play the clip U(0.5, 2) times as fast" in made.sentence  # what cannot be read is not taken
    reverb = settings_of(source, Listen(augmentation="reverb_drc"))
    assert reverb.part.impulse_responses is None  # no folder of another machine is read


def test_one_sound_is_drawn_for_each_device_with_what_a_system_decides(heard, clip_of):
    blocks = PAGE.blocks(heard, Listen(row="plain", clip=clip_of("s1")))
    figure = figures(blocks)["devices"]
    assert figure.layout.title.text == "What do 9 devices make of the same sound?"
    titles = [note.text for note in figure.layout.annotations]
    assert [title.split(":")[0] for title in titles] == [
        *("a", "b", "c", "s1, heard", "s2, heard", "s3, heard"),
        *("s4, never heard", "s5, never heard", "s6, never heard"),
    ]
    assert {one.coloraxis for one in figure.data} == {"coloraxis"}
    board = heard.board(())
    table = heard.tables(board, "plain")[0].set_index("clip_id")
    row = table.loc[clip_of("s1")]
    likely = row.iloc[5:].astype(float).idxmax()
    assert titles[3] == f"s1, heard: {likely.replace('_', ' ')} {100 * row[likely]:.1f}\N{NO-BREAK SPACE}%"
    assert sentence(blocks, "devices").startswith(f"It is {row['scene'].replace('_', ' ')}: plain decides ")


def test_the_hardest_clips_lead_to_themselves(heard):
    state = Listen(row="plain", augmentation="noise", scene="bus")
    table = next(block for block in PAGE.blocks(heard, state) if isinstance(block, Table))
    assert len(table.frame) == 30
    first = table.frame["clip"].iloc[0]
    assert table.sounds[0] == f"/recording/{first}.wav"
    after = decode(Listen, table.links["clip"][0].partition("?")[2])
    assert after == dataclasses.replace(state, clip=first, scene="")
    assert value_of(PAGE.controls(heard, after), "clip") == first
    right = figures(PAGE.blocks(heard, after))["right"]
    assert sum(sum(bar.y) for bar in right.data) == len(heard.tables(heard.board(()), "plain")[0])


def test_a_scene_that_is_chosen_leaves_the_clip_of_another(heard, clip_of, clips):
    state = Listen(clip=clip_of("a"), scene="tram")
    controls = PAGE.controls(heard, state)
    clip = value_of(controls, "clip")
    assert (clips["scene"][clip], value_of(controls, "scene")) == ("tram", "tram")
    assert clip.endswith("-a")


@pytest.mark.parametrize(
    "query", ["clip=gone", "clip=../x", "augmentation=gone", "draw=-3", "row=gone", "scene=gone", "row=groups"]
)
def test_whatever_a_link_says_the_page_shows_a_clip(heard, query):
    blocks = PAGE.blocks(heard, decode(Listen, query))
    assert {"augmentation", "devices", "right"} <= set(figures(blocks))
    assert PAGE.controls(heard, decode(Listen, query))


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("clip=gone&augmentation=noise", "name a clip 'gone'"),
        ("clip=..%2Fmeta.csv&augmentation=noise", "name a clip"),
        ("augmentation=noise", "name a clip"),
        ("augmentation=os%3Asystem", "no augmentation"),
        ("clip=TRAIN&augmentation=noise", "name a clip"),
    ],
)
def test_nothing_is_made_of_what_may_not_be_heard(heard, clips, query, why):
    train = str(clips.query("split == 'train'").index[0])
    answer = create_app(heard).server.test_client().get(f"/augmented.wav?{query.replace('TRAIN', train)}")
    assert answer.status_code == 404
    assert why in answer.text
    assert answer.text.count("\n") == 1


def test_other_data_than_the_runs_were_made_with_are_told(heard, simulated):
    assert not recordings.other_data(patient(heard.reader, simulated), heard.board(()))
    board = heard.board(())
    other = dataclasses.replace(board, frame=board.frame.assign(dataset="far", dataset_digest="f" * 64))
    (note,) = recordings.other_data(patient(heard.reader, simulated), other)
    assert "is not the data set that the runs were made with (far fffffff)" in note.text
    unknown = dataclasses.replace(board, frame=board.frame.assign(dataset_digest=""))
    assert not recordings.other_data(patient(heard.reader, simulated), unknown)


def test_recordings_that_lack_files_cannot_be_told_from_others(heard, simulated, tmp_path):
    shutil.copytree(simulated, tmp_path / "data")
    next((tmp_path / "data" / "audio").glob("*.wav")).unlink()
    (note,) = recordings.other_data(patient(heard.reader, tmp_path / "data"), heard.board(()))
    assert "cannot be told: every clip needs its audio file" in note.text


def test_data_without_the_clips_of_the_predictions_are_told(source, simulated):
    blocks = PAGE.blocks(Source(source.reader, ("s",), simulated), Listen())
    assert "have no clip that predictions of s name" in notes(blocks)
    assert "right" in figures(blocks)


def test_a_recording_that_is_damaged_is_told(heard, simulated, tmp_path, clip_of):
    shutil.copytree(simulated, tmp_path / "data")
    (tmp_path / "data" / "audio" / f"{clip_of('a')}.wav").write_bytes(b"no sound")
    source = Source(heard.reader, ("s",), tmp_path / "data")
    assert "must be readable" in notes(PAGE.blocks(source, Listen(clip=clip_of("a"))))


def test_seeds_of_different_clips_have_no_hardest(source, monkeypatch):
    tables = source.tables

    def shortened(board, name, split="test"):
        found = tables(board, name, split)
        return [found[0], found[1].head(10)] if len(found) > 1 else found

    monkeypatch.setattr(source, "tables", shortened)
    assert "measured on different clips" in notes(PAGE.blocks(source, Listen(row="mixup")))
    monkeypatch.setattr(source, "tables", lambda *_, **__: [])
    assert "has no predictions of the test split" in notes(PAGE.blocks(source, Listen(row="plain")))


def test_a_report_names_the_page_but_does_not_hold_it(source):
    assert PAGE in PAGES
    assert not PAGE.in_report
    assert "Listen" in str(_more(source, "s"))


def test_a_system_on_embeddings_is_told_to_have_heard_no_sound(tracker, simulated, clips, clip_of):
    drawn = np.random.default_rng(0).dirichlet(np.ones(10), len(test := clips.query("split == 'test'")))
    tables = {"test": predictions_table(test, drawn.astype(np.float32), "ten_class")}
    for row, params in {"mlp": {"features.embeddings": "e.npz"}, "cnn": {"features.n_mels": "40"}}.items():
        run = log(tracker, row, tables, study="t")
        for name, value in params.items():
            tracker.client.log_param(run, name, value)
    source = Source(Reader(tracker.uri), ("t",), simulated)
    chosen = Listen(row="mlp", clip=clip_of("a"), augmentation="noise")
    assert "mlp decides by embeddings of the clips (e.npz), which cannot be drawn" in notes(PAGE.blocks(source, chosen))
    assert features_of(source, source.board(()), "mlp").n_mels == 40  # of the first row that hears sound
    assert "embeddings" not in notes(PAGE.blocks(source, dataclasses.replace(chosen, row="cnn")))
