"""Finding CSV files and clips in the shapes in which MELD lies on disks, and the digest of what is found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.meld_trees import FOLDERS, row, write_csv, write_csvs
from trainables.errors import CorpusError
from trainables.importers.meld_layout import find_layout

OFFICIAL = {split: f"{folder}/dia0_utt0.mp4" for split, folder in FOLDERS.items()}


def put(root: Path, *names: str, size: int = 3) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x" * size)


@pytest.mark.parametrize(
    ("csvs", "clips"),
    [
        (".", OFFICIAL),
        ("MELD.Raw/MELD.Raw", {s: f"MELD.Raw/MELD.Raw/{name}" for s, name in OFFICIAL.items()}),
        ("data/MELD", {s: f"MELD.Raw/{name}" for s, name in OFFICIAL.items()}),
        (".", {s: f"{s}/{name}" for s, name in OFFICIAL.items()}),
        (".", {s: f"{s}/dia0_utt0.mp4" for s in FOLDERS}),
        (".", {"train": "train/dia0_utt0.wav", "dev": "val/dia0_utt0.flac", "test": "test/dia0_utt0.m4a"}),
        (".", {"train": "Train/dia0_utt0.mp4", "dev": "valid/dia0_utt0.mp4", "test": "TEST/dia0_utt0.mp4"}),
    ],
    ids=["official", "nested", "csv apart", "per-split folders", "split names", "converted", "other names"],
)
def test_shapes_of_the_tree(tmp_path: Path, csvs: str, clips: dict[str, str]) -> None:
    write_csvs(tmp_path / csvs)
    put(tmp_path, *clips.values())
    layout = find_layout(tmp_path)
    assert {split: path.name for split, path in layout.csvs.items()} == {s: f"{s}_sent_emo.csv" for s in FOLDERS}
    assert {s: {key: c.path for key, c in found.items()} for s, found in layout.clips.items()} == {
        split: {(0, 0): tmp_path / name} for split, name in clips.items()
    }


def test_a_csv_beside_the_clips_says_their_split(tmp_path: Path) -> None:
    for split in FOLDERS:
        write_csv(tmp_path / f"part-{len(split)}" / f"{split}_sent_emo.csv", [row(0, 0)])
        put(tmp_path, f"part-{len(split)}/dia0_utt0.mp4")
    layout = find_layout(tmp_path)
    assert layout.clips["dev"][0, 0].path.parent.name == "part-3"


def test_stubs_copies_and_strangers_are_passed_over(tmp_path: Path) -> None:
    write_csvs(tmp_path)
    put(tmp_path, *OFFICIAL.values())
    strangers = ["._dia0_utt1.mp4", "final_videos_testdia0_utt1.mp4", "dia0_utt1.mp4.part", "dia_utt1.mp4"]
    put(tmp_path / FOLDERS["test"], *strangers)
    put(tmp_path, "__MACOSX/train_splits/dia7_utt7.mp4", "._train_sent_emo.csv")
    layout = find_layout(tmp_path)
    assert [list(layout.clips[split]) for split in FOLDERS] == [[(0, 0)]] * 3


def test_mp4_goes_before_what_was_converted_from_it(tmp_path: Path) -> None:
    write_csvs(tmp_path)
    put(tmp_path, *OFFICIAL.values(), "train_splits/dia0_utt0.wav", "train_splits/dia0_utt1.wav")
    found = find_layout(tmp_path).clips["train"]
    assert [clip.path.name for _, clip in sorted(found.items())] == ["dia0_utt0.mp4", "dia0_utt1.wav"]


def test_a_link_to_nothing_is_an_absent_clip(tmp_path: Path) -> None:
    write_csvs(tmp_path)
    put(tmp_path, *OFFICIAL.values())
    (tmp_path / "train_splits" / "dia0_utt1.mp4").symlink_to(tmp_path / "nothing.mp4")
    assert list(find_layout(tmp_path).clips["train"]) == [(0, 0)]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["dia0_utt0.mp4"], "ambiguous"),
        (["clips/dia0_utt0.mp4"], "ambiguous"),
        (["train_splits/dia0_utt0.mp4"], "no clips dia<D>_utt<U>.mp4 of dev, test"),
        ([], "no clips dia<D>_utt<U>.mp4 of train, dev, test.*modalities"),
    ],
)
def test_clips_that_cannot_be_told_apart_or_found_are_refused(tmp_path: Path, names: list[str], words: str) -> None:
    write_csvs(tmp_path)
    put(tmp_path, *names)
    with pytest.raises(CorpusError, match=words):
        find_layout(tmp_path)
    assert find_layout(tmp_path, media=False).clips == {}


def test_two_different_copies_are_refused_and_equal_ones_are_not(tmp_path: Path) -> None:
    write_csvs(tmp_path)
    put(tmp_path, *OFFICIAL.values())
    put(tmp_path / "copy", *OFFICIAL.values())
    write_csvs(tmp_path / "copy")
    assert find_layout(tmp_path).csvs["train"] == tmp_path / "train_sent_emo.csv"
    put(tmp_path, "copy/train_splits/dia0_utt0.mp4", size=4)
    with pytest.raises(CorpusError, match="differ in size"):
        find_layout(tmp_path)
    write_csv(tmp_path / "copy" / "dev_sent_emo.csv", [row(5, 5)])
    with pytest.raises(CorpusError, match=r"dev_sent_emo.csv and .*copy.* differ"):
        find_layout(tmp_path, media=False)


def test_no_meld_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"absent: no such folder.*train_sent_emo\.csv.*train_splits"):
        find_layout(tmp_path / "absent")
    with pytest.raises(CorpusError, match=r"not MELD: no train_sent_emo\.csv, dev_sent_emo\.csv, test"):
        find_layout(tmp_path)
    put(tmp_path, "train.tar.gz")
    write_csv(tmp_path / "dev_sent_emo.csv", [row(0, 0)])
    with pytest.raises(CorpusError, match=r"no train_sent_emo\.csv, test.*train\.tar\.gz may have to be unpacked"):
        find_layout(tmp_path)


def test_the_dyadic_files_serve_where_the_others_are_not(tmp_path: Path) -> None:
    for split in FOLDERS:
        write_csv(tmp_path / f"{split}_sent_emo_dya.csv", [row(0, 0)])
    assert find_layout(tmp_path, media=False).dyadic
    write_csvs(tmp_path)
    assert not find_layout(tmp_path, media=False).dyadic


def test_the_digest_goes_by_content_not_by_place(tmp_path: Path) -> None:
    roots = [tmp_path / "a", tmp_path / "b" / "MELD.Raw"]
    for root in roots:
        write_csvs(root)
        put(root, *OFFICIAL.values())
    first, second = (find_layout(root).digest() for root in (roots[0], tmp_path / "b"))
    assert first == second
    text = find_layout(roots[0], media=False).digest()
    put(roots[0], OFFICIAL["dev"], size=4)
    resized = find_layout(roots[0]).digest()
    put(roots[0], "train_splits/dia0_utt1.mp4")
    added = find_layout(roots[0]).digest()
    assert find_layout(roots[0], media=False).digest() == text
    write_csv(roots[0] / "test_sent_emo.csv", [row(0, 0, Utterance="Another.")])
    changed = find_layout(roots[0]).digest()
    assert len({text, first, resized, added, changed}) == 5


def test_the_importers_and_the_digest_load_nothing_heavy(tmp_path: Path) -> None:
    put(write_csvs(tmp_path), *OFFICIAL.values())
    code = (
        "import sys; from pathlib import Path; from trainables.prepare import corpus_fingerprint\n"
        "from trainables.spec import MeldSpec\n"
        f"corpus_fingerprint(MeldSpec(), Path({str(tmp_path)!r}))\n"
        "print(*sorted({'av','numpy','pyarrow','torch','fsspec','soundfile'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
