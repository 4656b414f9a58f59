"""The page of confusions: its cells are links, and its clips those of the predictions."""

import dataclasses

import numpy as np
import pytest

from asc_study.evaluation.by_clip import confused_clips, confusion_shares, most_frequent
from asc_study.figures.confusions import in_groups
from dashboards.blocks import Figure, Live, Note, Table
from dashboards.pages.confusions import PAGE, Confusions, clicked
from dashboards.state import decode


def of(kind, blocks):
    return [block for block in blocks if isinstance(block, kind)]


def text(blocks):
    return " ".join(f"{note.text} {note.command}" for note in of(Note, blocks))


def named(controls):
    return {control.name: control.value for control in controls}


def test_the_matrix_is_that_of_the_system_on_the_chosen_devices(source):
    state = Confusions(row="mixup", subset="s4-s6")
    (figure,) = of(Figure, PAGE.blocks(source, state))
    tables = source.tables(source.board(()), "mixup")
    shares = confusion_shares([table[table["device"].isin(("s4", "s5", "s6"))] for table in tables])
    order = in_groups(shares.index)
    np.testing.assert_allclose(figure.figure.data[0].z, shares.loc[order, order])
    assert figure.figure.layout.title.text == "Which scenes does mixup take for which on s4-s6 (unseen)?"


def test_the_difference_is_that_of_two_matrices(source):
    (figure,) = of(Figure, PAGE.blocks(source, Confusions(row="mixup", reference="plain", against=True)))
    board = source.board(())
    own, other = (confusion_shares(source.tables(board, name)) for name in ("mixup", "plain"))
    order = in_groups(own.index)
    np.testing.assert_allclose(figure.figure.data[0].z, (own - other).loc[order, order])


def test_a_click_on_a_cell_is_a_link_that_lists_its_clips_with_what_both_systems_say(source):
    before = Confusions(row="mixup", reference="plain", clip="old")
    board = source.board(())
    true, decided = most_frequent(confusion_shares(source.tables(board, "mixup")))
    spoken = {name: name.replace("_", " ") for name in (true, decided)}
    state = clicked(before, "confusions", {"x": spoken[decided], "y": spoken[true], "z": 10})
    assert (state.true, state.decided, state.clip) == (true, decided, "")
    assert clicked(before, "clip", {"x": 1, "y": 2}) == before
    (table,) = of(Table, PAGE.blocks(source, state))
    expected = confused_clips(source.tables(board, "mixup"), true, decided, source.tables(board, "plain"))
    assert table.frame["clip"].tolist() == expected["clip_id"].tolist()
    assert table.frame[f"mixup: % {spoken[true]}"].tolist() == expected["p_true"].tolist()
    assert table.frame[f"plain: % {spoken[decided]}"].tolist() == expected["other_p_decided"].tolist()
    assert not table.sounds


def test_without_a_choice_the_most_frequent_confusion_is_listed_and_the_controls_say_which(source):
    chosen = named(PAGE.controls(source, Confusions(row="plain")))
    shares = confusion_shares(source.tables(source.board(()), "plain"))
    wrong = shares.to_numpy() * ~np.eye(10, dtype=bool)
    assert shares[chosen["decided"]][chosen["true"]] == wrong.max()
    bus = named(PAGE.controls(source, Confusions(row="plain", true="bus")))
    assert (bus["true"], bus["decided"]) == ("bus", shares.loc["bus"].drop("bus").idxmax())


def test_a_cell_of_right_decisions_is_listed_once(source):
    (table,) = of(Table, PAGE.blocks(source, Confusions(row="mixup", true="tram", decided="tram")))
    assert [name for name in table.frame if name.startswith("mixup")] == ["mixup: % tram"]


def test_an_empty_cell_says_so(source):
    shares = confusion_shares(source.tables(source.board(()), "mixup <b>masks</b>"))
    true, decided = next((t, d) for t in shares.index for d in shares.columns if shares[d][t] == 0)
    blocks = PAGE.blocks(source, Confusions(row="mixup <b>masks</b>", true=true, decided=decided))
    assert not of(Table, blocks)
    assert "0.0" in text(blocks)


@pytest.mark.parametrize(
    "query",
    [
        "row=gone",
        "true=nothing&decided=bus",
        "true=indoor",
        "subset=none",
        "row=groups&true=bus",
        "clip=gone",
        "row=groups&subset=BC&true=indoor&decided=outdoor",
        "row=plain&reference=plain&against=1",
    ],
)
def test_whatever_a_link_says_there_is_a_matrix(source, query):
    blocks = PAGE.blocks(source, decode(Confusions, query))
    assert of(Figure, blocks)
    assert PAGE.controls(source, decode(Confusions, query))


def test_missing_predictions_leave_a_note(source, monkeypatch):
    tables = source.tables
    monkeypatch.setattr(source, "tables", lambda board, name, split="test": [])
    assert "have no predictions of the test split" in text(PAGE.blocks(source, Confusions(row="mixup")))
    monkeypatch.setattr(source, "tables", lambda *some: [] if some[1] == "plain" else tables(*some))
    blocks = PAGE.blocks(source, Confusions(row="mixup", reference="plain"))
    assert "The reference plain has no predictions of the test split: mixup is shown alone." in text(blocks)
    assert of(Figure, blocks)


def test_a_split_without_clips_of_the_devices_leaves_a_note(heard):
    blocks = PAGE.blocks(heard, Confusions(row="plain", split="validation"))
    assert "have no predictions of the validation split" in text(blocks)


def test_without_data_the_note_has_the_command(source):
    assert "asc-study dashboard s --data DIR" in text(PAGE.blocks(source, Confusions()))


def test_with_data_each_clip_has_a_player_and_can_be_drawn(heard):
    state = Confusions(row="plain", reference="other")
    (table,) = of(Table, PAGE.blocks(heard, state))
    clip = table.frame["clip"].iloc[0]
    assert table.sounds[0] == f"/recording/{clip}.wav"
    after = decode(Confusions, table.links["clip"][0].partition("?")[2])
    cell = named(PAGE.controls(heard, state))
    assert after == dataclasses.replace(state, clip=clip, true=cell["true"], decided=cell["decided"])
    blocks = PAGE.blocks(heard, after)
    figure = next(block for block in of(Figure, blocks) if block.name == "clip").figure
    assert figure.layout.title.text == f"What does {clip} sound like?"
    assert figure.layout.meta["sentence"].startswith("plain: ")
    assert "other: " in figure.layout.meta["sentence"]
    assert of(Live, blocks)


def test_a_recording_that_is_gone_leaves_a_note(heard, monkeypatch):
    monkeypatch.setattr(heard, "data", heard.data / "gone")
    blocks = PAGE.blocks(heard, Confusions(row="plain", clip="x"))
    assert "must be a folder" in text(blocks)
    assert of(Table, blocks)
