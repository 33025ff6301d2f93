"""Finding IEMOCAP's five sessions below a folder, and saying what is not there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helpers.iemocap_trees import plain_turns, wav_of, write, write_tree
from trainables.errors import CorpusError
from trainables.importers.iemocap_layout import DEPTH, Layout, find_layout


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "IEMOCAP_full_release", plain_turns(codes="neu"), seconds=0.05)


def folders(layout: Layout) -> list[Path]:
    return [session.folder for session in layout.sessions]


def test_the_sessions_are_found_from_above(release: Path, tmp_path: Path) -> None:
    below = find_layout(release)
    assert folders(below) == [release / f"Session{number}" for number in range(1, 6)]
    assert folders(find_layout(tmp_path)) == folders(below)
    assert {len(session.wavs) for session in below.sessions} == {4}
    assert {len(session.alignments) for session in below.sessions} == {12}


def test_it_looks_no_deeper_than_it_says(release: Path, tmp_path: Path) -> None:
    deep = tmp_path.joinpath("root", *"abcd"[:DEPTH])
    deep.mkdir(parents=True)
    release = release.rename(deep / "r")
    with pytest.raises(CorpusError, match="not IEMOCAP: no folders Session1 to Session5"):
        find_layout(tmp_path / "root")
    assert len(find_layout(tmp_path / "root" / "a").sessions) == 5


def test_the_shallowest_of_equal_copies_is_read(release: Path) -> None:
    digest = find_layout(release).digest()
    shutil.copytree(release, release / "IEMOCAP_full_release")
    found = find_layout(release)
    assert folders(found) == [release / f"Session{number}" for number in range(1, 6)]
    assert found.digest() == digest


def test_copies_that_differ_are_refused(release: Path) -> None:
    shutil.copytree(release / "Session3", release / "copy" / "Session3")
    write(release / "copy/Session3/dialog/transcriptions/Ses03F_impro01.txt", "other")
    with pytest.raises(CorpusError, match=r"release/Session3 and .*release/copy/Session3 differ; keep the one"):
        find_layout(release)


def test_a_copy_that_lacks_a_part_yields_to_the_whole_one(release: Path) -> None:
    shutil.copytree(release / "Session3" / "dialog", release.parent / "Session3" / "dialog")
    assert folders(find_layout(release.parent))[2] == release / "Session3"


@pytest.mark.parametrize(
    ("absent", "told"),
    [
        (["Session2"], "no Session2"),
        (["Session2", "Session5"], "no Session2, Session5"),
        (["Session4/dialog/EmoEvaluation"], "no Session4/dialog/EmoEvaluation"),
        (["Session4/dialog/transcriptions"], "no Session4/dialog/transcriptions"),
        (["Session1/sentences", "Session4/sentences/wav"], "no Session1/sentences/wav, Session4/sentences/wav"),
        (
            ["Session1/dialog/transcriptions/Ses01M_script01_1.txt"],
            "no Session1/dialog/transcriptions/Ses01M_script01_1.txt",
        ),
    ],
)
def test_what_is_missing_is_named(release: Path, absent: list[str], told: str) -> None:
    for name in absent:
        path = release / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(CorpusError) as error:
        find_layout(release)
    told = f"{release}: IEMOCAP is not whole: {told}"
    only_wavs = all(name.endswith(("sentences", "wav")) for name in absent)
    assert str(error.value) == told + ('; modalities ["text"] needs no wavs' if only_wavs else "")


def test_text_alone_needs_no_sentences(release: Path) -> None:
    for number in range(1, 6):
        shutil.rmtree(release / f"Session{number}" / "sentences")
    assert len(find_layout(release, media=False).sessions) == 5
    with pytest.raises(CorpusError, match=r"no Session1/sentences/wav, .* modalities \[\"text\"\] needs no wavs"):
        find_layout(release)


def test_alignments_and_raters_files_may_be_missing(release: Path) -> None:
    for number in range(1, 6):
        shutil.rmtree(release / f"Session{number}" / "sentences" / "ForcedAlignment")
        shutil.rmtree(release / f"Session{number}" / "dialog" / "EmoEvaluation" / "Categorical")
    found = find_layout(release)
    assert {(len(s.alignments), len(s.ratings), len(s.wavs)) for s in found.sessions} == {(0, 0, 4)}


def test_one_session_is_not_the_corpus(release: Path) -> None:
    with pytest.raises(
        CorpusError, match="Session2: one session alone; give the folder that holds the folders Session1 to"
    ):
        find_layout(release / "Session2")


def test_an_archive_has_to_be_unpacked(tmp_path: Path) -> None:
    write(tmp_path / "IEMOCAP_full_release.tar.gz", "")
    with pytest.raises(CorpusError, match="unpacked first"):
        find_layout(tmp_path)
    with pytest.raises(CorpusError, match="no such folder"):
        find_layout(tmp_path / "nowhere")


def test_junk_counts_for_nothing(release: Path) -> None:
    """Stubs, pickles, the actors' own ratings, other formats, a whole folder of stubs."""
    before = find_layout(release)
    evaluation = release / "Session1/dialog/EmoEvaluation"
    wavs = release / "Session1/sentences/wav"
    for path in (
        evaluation / "._Ses01F_impro01.txt",
        evaluation / "Ses01F_impro01.pk",
        evaluation / "Ses01F_impro01.anvil",
        evaluation / "Attribute/Ses01F_impro01_e2_atr.txt",
        evaluation / "Self-evaluation/Ses01F_impro01_f1_cat.txt",
        evaluation / "Categorical/._Ses01F_impro01_e2_cat.txt",
        evaluation / "Categorical/Ses01F_impro01_f1_cat.txt",
        wavs / "Ses01F_impro01/._Ses01F_impro01_F000.wav",
        wavs / "Ses01F_impro01/Ses01F_impro01_F000.wav.pk",
        release / "__MACOSX/Session1/dialog/EmoEvaluation/._Ses01F_impro01.txt",
    ):
        write(path, "\x00\x05\x16\x07")
    after = find_layout(release)
    assert after == before
    assert after.digest() == before.digest()


def test_a_wav_in_two_folders_must_be_one(release: Path) -> None:
    own = wav_of(release, "Ses01F_impro01_F000")
    shutil.copy(own, own.parents[1])
    assert len(find_layout(release).sessions[0].wavs) == 4
    write(own.parents[1] / own.name, "other")
    with pytest.raises(CorpusError, match="differ in size; keep one of the two"):
        find_layout(release)


def test_the_digest_is_of_what_is_read_and_not_of_where(release: Path, tmp_path: Path) -> None:
    first, text = find_layout(release).digest(), find_layout(release, media=False).digest()
    release = release.rename(tmp_path / "elsewhere")
    assert find_layout(release).digest() == first != text
    wav_of(release, "Ses02F_impro01_F000").write_bytes(b"shorter")
    second = find_layout(release).digest()
    write(release / "Session2/sentences/ForcedAlignment/Ses02F_impro01/Ses02F_impro01_F000.phseg", "")
    third = find_layout(release).digest()
    assert find_layout(release, media=False).digest() == text
    transcript = release / "Session2/dialog/transcriptions/Ses02F_impro01.txt"
    transcript.write_bytes(transcript.read_bytes().replace(b"Line", b"Lime"))
    fourth = find_layout(release).digest()
    assert len({first, second, third, fourth}) == 4
    assert find_layout(release, media=False).digest() != text
