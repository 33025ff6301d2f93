"""CREMA-D's tree: names, formats, stubs, votes as labels, and folds by actor."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.helpers.crema_d_trees import (
    name,
    names,
    path_of,
    write_actors,
    write_stub,
    write_stubs,
    write_summary,
    write_tabulated,
    write_tree,
)
from tests.helpers.sounds import RATE, write_sound
from tests.helpers.takes import write_take
from trainables.artifacts import Record
from trainables.corpus import SPLITS, read_table
from trainables.errors import CorpusError
from trainables.importers.crema_d import CremaDImporter
from trainables.importers.crema_d_layout import EMOTIONS, SENTENCES, find_layout
from trainables.importers.lfs import STUB, explain
from trainables.prepare import prepare, problem_table
from trainables.spec import CremaDSpec
from trainables.storage import Storage

Rows = dict[str, dict[str, Any]]
SPEC = CremaDSpec(modalities=("text",))
"""Names and tables alone, for what needs no clip decoded."""


def ignore(done: int, total: int) -> None:
    assert done <= total


def prepared(root: Path, spec: CremaDSpec) -> tuple[Record, Rows]:
    storage = Storage(str(root.parent / "store"))
    record = prepare(storage, spec, root, 1, ignore)
    return record, {row["uid"]: row for row in read_table(storage, record.fingerprint).to_pylist()}


def remarks(record: Record) -> list[str]:
    return [remark.reason for remark in problem_table(record).remarks]


def with_votes(root: Path, clips: list[str]) -> Path:
    """Votes of the first clips: anger, a tie, and none at all; neutral for the rest."""
    counts = [((9, 1, 0, 0, 0, 0),) * 3, ((0, 0, 4, 4, 1, 0), (0, 8, 0, 0, 1, 0), (3, 0, 0, 3, 2, 0))]
    votes = dict.fromkeys(clips, ((0, 0, 0, 0, 9, 1),) * 3) | dict(zip(clips, counts, strict=False))
    del votes[clips[2]]
    write_tabulated(root, votes)
    return root


def test_a_name_says_actor_sentence_and_emotion(tmp_path: Path) -> None:
    clips = [name(1001 + n, code, sentence) for n, sentence in enumerate(SENTENCES) for code in EMOTIONS]
    record, rows = prepared(write_tree(tmp_path / "raw", clips), SPEC)
    assert record.rows == {"all": 72}
    assert record.info["labels"] == ["anger", "disgust", "fear", "happiness", "neutral", "sadness"]
    assert record.info["expected"] == {"all": 7442}
    last = rows["1012_WSI_SAD_XX"]
    assert (last["speaker"], last["label"]) == ("1012", "sadness")
    assert last["text"] == "We'll stop in a couple of minutes."
    assert len({row["text"] for row in rows.values()}) == 12


@pytest.mark.parametrize("layout", ["repository", "flat", "nested", "lower case"])
def test_any_folders_will_do(layout: str, tmp_path: Path) -> None:
    root = tmp_path / "raw"
    for number, clip in enumerate(names()):
        file = f"{clip}.wav"
        if layout == "lower case":
            file = file.lower() if number % 2 else f"{clip}.WAV"
        folder = {"flat": "", "nested": "CREMA-D-master/AudioWAV"}.get(layout, "AudioWAV")
        write_sound(root / folder / file, 0.5, 200 + number)
    (root / "README.md").parent.mkdir(exist_ok=True)
    (root / "README.md").touch()
    record, rows = prepared(root, CremaDSpec())
    assert sorted(rows) == names()
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert remarks(record) == ["rows have no votes: there is no tabulatedVotes.csv, as in processedResults of the "
                               "corpus's repository"]  # fmt: skip


def test_the_one_name_with_a_short_level_has_its_votes(tmp_path: Path) -> None:
    """The file was long named 1040_ITH_SAD_X.wav, while the tables and its video say XX."""
    root = write_tree(tmp_path / "raw", names())
    stray = name(1040, "SAD", "ITH")
    write_sound(root / "AudioWAV" / "1040_ITH_SAD_X.wav")
    write_take(path_of(root, stray, ".flv"))
    write_tabulated(root, dict.fromkeys([*names(), stray], ((0, 0, 0, 0, 1, 3),) * 3))
    record, rows = prepared(root, CremaDSpec())
    assert len(rows) == 13
    assert rows[stray]["status"] == "ok"
    assert rows[stray]["votes"] == pytest.approx([0, 0, 0, 0, 0.25, 0.75])
    assert remarks(record) == []


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("1001_DFA_ANG.wav", "not a name of CREMA-D's: actor, sentence, emotion and level, as in 1001_DFA_ANG_XX"),
        ("03-01-01-01-01-01-01.wav", "not a name of CREMA-D's"),
        ("1001_DFA_ANG_XX (1).flv", "not a name of CREMA-D's"),
        ("1092_DFA_ANG_XX.mp3", "unknown actor 1092; CREMA-D's are 1001 to 1091"),
        ("1001_XYZ_ANG_XX.wav", "unknown sentence XYZ; CREMA-D's are IEO, TIE"),
        ("1001_DFA_SUR_XX.wav", "unknown emotion SUR; CREMA-D's are ANG, DIS, FEA, HAP, NEU, SAD"),
        ("1001_DFA_ANG_XL.mp4", "unknown level XL; CREMA-D's are LO, MD, HI, XX"),
    ],
)
def test_a_name_that_is_none_is_named(file: str, told: str, tmp_path: Path) -> None:
    path = write_tree(tmp_path, names()) / file
    path.touch()
    with pytest.raises(CorpusError, match=f"^{re.escape(f'{path}: {told}')}"):
        find_layout(tmp_path, ("audio",))


def test_wav_is_read_before_mp3_and_mp3_before_the_videos_sound(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", names(), [".wav", ".mp3", ".flv"])
    without, silent = names()[0], names()[1]
    path_of(root, without).unlink()
    path_of(root, silent).unlink()
    path_of(root, silent, ".mp3").unlink()
    layout = find_layout(root, ("audio",))
    assert layout.sound is not None
    assert layout.sound.of[without].path == path_of(root, without, ".mp3")
    assert layout.sound.of[silent].path == path_of(root, silent, ".flv")
    record, rows = prepared(root, CremaDSpec())
    assert len(rows) == 12
    assert all(row["audio"] and row["images"] is None for row in rows.values())
    assert "sound was read from wav (10), mp3 (1), flv (1)" in remarks(record)


def test_sound_and_pictures_are_of_their_own_files(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", names(), [".wav", ".flv"])
    mute, blind = names()[0], names()[1]
    path_of(root, mute).write_bytes(b"no wav")
    path_of(root, blind, ".flv").unlink()
    record, rows = prepared(root, CremaDSpec(modalities=("audio", "visual")))
    assert {uid for uid, row in rows.items() if row["audio"] is None} == {mute}
    assert {uid for uid, row in rows.items() if row["images"] is None} == {blind}
    assert rows[mute]["status"] == "decode_error"
    assert len(rows[mute]["images"]) == 3
    assert rows[blind]["status"] == "ok"
    assert f"there is no file {blind}.flv" in rows[blind]["reason"]
    assert "1 clip has no video" in remarks(record)


def test_pictures_alone_need_no_sound(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", names())
    for clip in names():
        write_take(path_of(root, clip, ".flv"), sound=False)
    path_of(root, names()[3], ".flv").unlink()
    other = path_of(root, names()[4], ".flv")
    other.rename(other.with_suffix(".mp4"))
    record, rows = prepared(root, CremaDSpec(modalities=("visual",)))
    assert {row["audio"] for row in rows.values()} == {None}
    assert {uid for uid, row in rows.items() if row["status"] != "ok"} == {names()[3]}
    assert rows[names()[3]]["status"] == "missing_media"
    assert record.info["votes_of"] == "face"
    assert "pictures were read from flv (10), mp4 (1)" in remarks(record)


def test_pictures_without_any_video_are_refused(tmp_path: Path) -> None:
    write_tree(tmp_path, names())
    told = f"{tmp_path}: no videos of CREMA-D, as VideoFlash/1001_DFA_ANG_XX.flv (or .mp4), below it; without them"
    with pytest.raises(CorpusError, match=f"^{re.escape(told)}"):
        find_layout(tmp_path, ("audio", "visual"))


def test_what_is_silent_or_broken_is_found_by_decoding(tmp_path: Path) -> None:
    clips = names()
    root = write_tree(tmp_path / "raw", clips)
    soundfile.write(path_of(root, clips[0]), np.zeros(RATE), RATE)
    path_of(root, clips[1]).write_bytes(path_of(root, clips[2]).read_bytes()[:60])
    record, rows = prepared(root, CremaDSpec())
    assert (rows[clips[0]]["status"], rows[clips[0]]["reason"]) == ("ok", "digital silence")
    assert rows[clips[1]]["status"] != "ok"
    assert [problem.uid for problem in problem_table(record).problems] == [clips[1]]


def test_a_few_stubs_are_rows_and_the_way_out_is_said(tmp_path: Path) -> None:
    clips = names()
    root = write_tree(tmp_path / "raw", clips)
    for clip in clips[:2]:
        write_stub(path_of(root, clip))
    write_stub(path_of(root, clips[2], ".flv"))  # whose wav is there
    record, rows = prepared(root, CremaDSpec())
    assert [uid for uid, row in rows.items() if row["status"] == "lfs_stub"] == clips[:2]
    assert problem_table(record).statuses == {"lfs_stub": 2}
    assert [told for told in remarks(record) if "git lfs pull" in told] == [explain(2, 12, root)]


def test_stubs_of_sound_and_of_pictures_are_explained_once(tmp_path: Path) -> None:
    clips = names()
    root = write_tree(tmp_path / "raw", clips, [".wav", ".flv"])
    for clip, suffix in ((clips[0], ".wav"), (clips[0], ".flv"), (clips[1], ".flv")):
        write_stub(path_of(root, clip, suffix))
    record, rows = prepared(root, CremaDSpec(modalities=("audio", "visual")))
    assert [(rows[clip]["status"], rows[clip]["reason"]) for clip in clips[:3]] == [
        ("lfs_stub", STUB), ("ok", f"pictures: {STUB}"), ("ok", ""),
    ]  # fmt: skip
    assert [told for told in remarks(record) if "git lfs pull" in told] == [explain(3, 24, root)]


def test_a_stub_is_passed_over_where_another_file_is_none(tmp_path: Path) -> None:
    """A zip download whose mp3 files, and one wav in a folder of its own, were fetched by hand."""
    clips = names()
    root = write_tree(write_stubs(tmp_path / "raw", clips), clips, [".mp3"])
    write_sound(root / "fetched" / f"{clips[0]}.wav")
    record, rows = prepared(root, CremaDSpec())
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert "sound was read from mp3 (11), wav (1)" in remarks(record)


@pytest.mark.parametrize(
    ("modalities", "folder"),
    [(("audio",), "AudioWAV"), (("visual",), "VideoFlash"), (("audio", "visual"), "AudioWAV")],
)
def test_a_corpus_of_stubs_is_refused_before_it_is_read(
    modalities: tuple[str, ...], folder: str, tmp_path: Path
) -> None:
    root = write_stubs(tmp_path, names())
    told = f"{root / folder}: 12 of 12 files are Git-LFS stubs, a few lines of text that stand for the content"
    with pytest.raises(CorpusError, match=f"^{re.escape(told)}.*`git lfs install`, then `git lfs pull`"):
        CremaDImporter().source_digest(CremaDSpec.model_validate({"modalities": modalities}), root)
    assert CremaDImporter().source_digest(SPEC, root)  # names alone are not worse for it


def test_videos_that_are_stubs_are_refused_beside_sound_that_is_none(tmp_path: Path) -> None:
    root = write_stubs(write_tree(tmp_path, names()), names(), [".flv"])
    with pytest.raises(
        CorpusError, match=f"^{re.escape(str(root / 'VideoFlash'))}: 12 of 12 files are Git-LFS stubs"
    ):
        find_layout(root, ("audio", "visual"))
    assert find_layout(root, ("audio",)).names == tuple(names())


@pytest.mark.parametrize(("protocol", "folds"), [("five", 5), ("ten", 10)])
def test_folds_are_of_actors_in_their_order(protocol: str, folds: int, tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", names(range(1001, 1013)))
    spec = CremaDSpec.model_validate({"modalities": ("text",), "protocol": protocol})
    record, rows = prepared(root, spec)
    for split, fold, first in (("test", 0, 1001), ("dev", 0, 1002), ("test", 1, 1002), ("dev", 1, 1003)):
        chosen = {row["speaker"] for row in rows.values() if row["folds"][fold] == split}
        assert chosen == {str(actor) for actor in range(first, 1013, folds)}
    assert {len(row["folds"]) for row in rows.values()} == {folds}
    assert record.info["speaker_disjoint"] == list(SPLITS)


def test_too_few_actors_are_told(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", names(range(1001, 1005)))
    with pytest.raises(CorpusError, match="CREMA-D, protocol five, by actor: 5 folds of 4 groups"):
        prepared(root, CremaDSpec())
    with pytest.raises(CorpusError, match="ORCH_CORPORA__CREMA_D"):
        find_layout(None, ("audio",))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match=r"no clips of CREMA-D, as AudioWAV/1001_DFA_ANG_XX\.wav, below it"):
        find_layout(tmp_path / "empty", ("audio",))


@pytest.mark.parametrize(
    ("modalities", "place", "tied"),
    [
        (("audio",), [0, 0, 4 / 9, 4 / 9, 1 / 9, 0], {"F:H": 1, "no votes": 1}),
        (("visual",), [0, 8 / 9, 0, 0, 1 / 9, 0], {"no votes": 1}),
        (("audio", "visual"), [3 / 8, 0, 0, 3 / 8, 2 / 8, 0], {"A:H": 1, "no votes": 1}),
    ],
)
def test_perceived_is_what_most_of_those_raters_said(
    modalities: tuple[str, ...], place: list[float], tied: dict[str, int], tmp_path: Path
) -> None:
    clips = names()
    root = with_votes(write_tree(tmp_path / "raw", clips, [".wav", ".flv"]), clips)
    acted, shared = prepared(root, CremaDSpec.model_validate({"modalities": modalities}))
    assert shared[clips[1]]["votes"] == pytest.approx(place)
    assert shared[clips[2]]["votes"] is None
    assert f"1 row has no votes in tabulatedVotes.csv: {clips[2]}" in remarks(acted)
    record, rows = prepared(root, CremaDSpec.model_validate({"modalities": modalities, "labels": "perceived"}))
    assert record.info["excluded"] == tied
    assert record.info["expected"] == {}
    assert set(clips) - set(rows) == {clips[2]} | ({clips[1]} if len(tied) == 2 else set())
    assert rows[clips[0]]["label"] == "anger"
    assert rows[clips[4]]["label"] == "neutral" != shared[clips[4]]["label"]
    assert all(row["folds"] == shared[uid]["folds"] for uid, row in rows.items())


def test_without_a_table_of_counts_the_summary_gives_labels_and_no_votes(tmp_path: Path) -> None:
    clips = names()
    root = write_tree(tmp_path / "raw", clips)
    write_summary(root, dict.fromkeys(clips, ("S", "N", "N")) | {clips[0]: ("A:D", "A", "A")})
    record, rows = prepared(root, CremaDSpec(labels="perceived"))
    assert record.info["excluded"] == {"A:D": 1}
    assert {(row["label"], row["votes"]) for row in rows.values()} == {("sadness", None)}


def test_perceived_without_any_table_names_the_file(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", names())
    told = (
        f"{root}: labels: perceived needs the raters' votes, processedResults/tabulatedVotes.csv (or summaryTable"
    )
    with pytest.raises(CorpusError, match=f"^{re.escape(told)}.*or labels: acted$"):
        prepared(root, CremaDSpec(labels="perceived"))


def test_actors_are_told_where_their_table_is(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", names())
    assert "genders" not in prepared(root, SPEC)[0].info
    write_actors(root, {1001: (51, "Male"), 1002: (21, "Female"), 1091: (29, "Female")})
    info = prepared(root, SPEC)[0].info
    assert info["genders"] == {"1001": "male", "1002": "female"}
    assert info["ages"] == {"1001": 51, "1002": 21}


def test_a_second_copy_is_read_once_and_another_one_is_an_error(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", names())
    shutil.copytree(root / "AudioWAV", root / "again")
    record, rows = prepared(root, CremaDSpec())
    assert len(rows) == 12
    assert remarks(record)[0].startswith("12 files are there twice, byte for byte")
    write_sound(root / "again" / f"{names()[0]}.wav", hertz=999)
    with pytest.raises(CorpusError, match="have one name and differ"):
        prepared(root, CremaDSpec(max_seconds=3))
    table = write_summary(root / "old", {names()[0]: ("A", "A", "A")})
    write_summary(root, {names()[0]: ("A", "A", "D")})
    with pytest.raises(CorpusError, match=re.escape(str(table))):
        find_layout(root, ("text",))


@pytest.mark.parametrize(
    ("change", "bears_on"),
    [
        (lambda root: write_sound(path_of(root, names()[0]), 0.7), {"audio"}),
        (lambda root: write_take(path_of(root, names()[0], ".flv"), 0.7), {"visual"}),
        (lambda root: write_sound(path_of(root, name(1050))), {"audio", "visual", "text"}),
        (lambda root: write_actors(root, {1001: (51, "Male")}), {"audio", "visual", "text"}),
        (lambda root: with_votes(root, names()), {"audio", "visual", "text"}),
        (lambda root: (root / "README.md").write_text("changed"), set()),
    ],
    ids=["a wav", "a video", "one more", "demographics", "votes", "a text"],
)
def test_the_digest_is_of_what_is_read_wherever_it_lies(
    change: Callable[[Path], object], bears_on: set[str], tmp_path: Path
) -> None:
    root = write_tree(tmp_path / "raw", names(), [".wav", ".flv"])

    def digests(folder: Path) -> dict[str, str]:
        specs = {one: CremaDSpec.model_validate({"modalities": [one]}) for one in ("audio", "text", "visual")}
        return {one: CremaDImporter().source_digest(spec, folder) for one, spec in specs.items()}

    first = digests(root)
    moved = shutil.copytree(root, tmp_path / "moved" / "inner")
    assert digests(tmp_path / "moved") == first
    change(moved)
    assert {one for one, digest in digests(tmp_path / "moved").items() if digest != first[one]} == bears_on
