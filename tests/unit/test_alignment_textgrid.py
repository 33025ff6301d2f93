"""TextGrids: their formats, their tiers, their faults, and whose they are."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.textgrids import Tiers, long_format, short_format, write_textgrid
from trainables.alignment.textgrid import TextGridError, read_textgrid
from trainables.alignment.textgrid_files import assign, digest, find_textgrids
from trainables.errors import CorpusError

WORDS = [(0.0, 0.1, ""), (0.1, 0.5, "hé"), (0.5, 0.6, "<eps>"), (0.6, 0.9, 'say "so"')]
PHONES = [(0.0, 0.1, "sil"), (0.1, 0.2, "HH"), (0.2, 0.5, "EY1"), (0.5, 0.6, "sp"), (0.6, 0.9, "spn")]
TIERS: Tiers = {"words": WORDS, "phones": PHONES}


@pytest.mark.parametrize("form", [long_format, short_format])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_format_is_read(form: Callable[[Tiers], str], encoding: str, newline: str, tmp_path: Path) -> None:
    text = form(TIERS).replace("\n", newline)
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    path = tmp_path / "a.TextGrid"
    path.write_bytes(mark + text.encode(encoding))
    found = read_textgrid(path)
    assert found.words == (("hé", 0.1, 0.5), ('say "so"', 0.6, 0.9))
    assert found.phones == (("HH", 0.1, 0.2), ("EY1", 0.2, 0.5))
    assert (found.syllables, found.source) == ((), "textgrid")


def test_the_tiers_of_several_speakers_are_read_in_the_order_of_time(tmp_path: Path) -> None:
    tiers: Tiers = {
        "Joey - words": [(0.0, 0.4, "hey"), (0.8, 1.0, "you")],
        "Joey - phones": [(0.0, 0.4, "EY1"), (0.8, 1.0, "UW1")],
        "Ross - words": [(0.4, 0.8, "what")],
        "Ross - phones": [(0.4, 0.8, "AH1")],
    }
    found = read_textgrid(write_textgrid(tmp_path / "a.TextGrid", tiers))
    assert [word.label for word in found.words] == ["hey", "what", "you"]
    assert [phone.label for phone in found.phones] == ["EY1", "AH1", "UW1"]


def test_tiers_may_have_other_names(tmp_path: Path) -> None:
    path = write_textgrid(tmp_path / "a.TextGrid", {"ORT": WORDS, "MAU": PHONES})
    assert len(read_textgrid(path, "ORT", "MAU").phones) == 2
    with pytest.raises(TextGridError, match=r"a\.TextGrid: no tier of intervals 'words'; it has 'ORT', 'MAU'"):
        read_textgrid(path)


def test_phones_may_be_absent_and_words_may_not(tmp_path: Path) -> None:
    assert read_textgrid(write_textgrid(tmp_path / "a.TextGrid", {"words": WORDS})).phones == ()
    silent = write_textgrid(tmp_path / "b.TextGrid", {"words": [(0.0, 1.0, "sil")], "phones": PHONES})
    with pytest.raises(TextGridError, match=r"b\.TextGrid: no word in the tier 'words'"):
        read_textgrid(silent)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a grid",
        b"\xff\xfe\x00",
        "é".encode("latin-1"),
        long_format(TIERS).encode()[:200],
        long_format(TIERS).replace("xmax = 0.9", "xmax = soon").encode(),
        short_format({"words": [(0.5, 0.2, "back"), (0.0, 0.4, "in time")]}).encode(),
    ],
)
def test_a_broken_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.TextGrid"
    path.write_bytes(content)
    with pytest.raises(TextGridError, match=r"^broken\.TextGrid: "):
        read_textgrid(path)


UIDS = ["train-dia0-utt0", "train-dia0-utt1", "dev-dia0-utt0", "Ses01F_impro01_F000", "a-b"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train-dia0-utt0", "dev-dia0-utt0"], {"train-dia0-utt0": 0, "dev-dia0-utt0": 1}),
        (["train_dia0_utt0"], {"train-dia0-utt0": 0}),
        (["Session1/Ses01F_impro01_F000"], {"Ses01F_impro01_F000": 0}),
        (["x/dia0_utt1"], {"train-dia0-utt1": 0}),  # no other split has such a clip
        (["dev/dia0_utt0", "train/dia0_utt0"], {"dev-dia0-utt0": 0, "train-dia0-utt0": 1}),
        (["dev_splits_complete/dia0_utt0"], {"dev-dia0-utt0": 0}),  # and train has none
        (["test/dia0_utt1"], {}),
        (["a-b", "a_b"], {"a-b": 0}),
        (["somebody", "else"], {}),
    ],
)
def test_a_row_has_the_file_of_its_name(names: list[str], expected: dict[str, int]) -> None:
    paths = [Path(f"{name}.TextGrid") for name in names]
    assert assign(paths, UIDS) == {uid: paths[i] for uid, i in expected.items()}


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["x/a-b", "y/a-b"], "row a-b: x/a-b.TextGrid and y/a-b.TextGrid could both be its TextGrid"),
        (
            ["train/1/dia0_utt0", "train/2/dia0_utt0"],
            "row train-dia0-utt0: train/1/dia0_utt0.TextGrid and train/2/",
        ),
        (
            ["dia0_utt0"],
            "dia0_utt0.TextGrid: it could be the TextGrid of row train-dia0-utt0 and of row dev-dia0-utt0",
        ),
    ],
)
def test_what_is_ambiguous_is_named_twice(names: list[str], told: str) -> None:
    with pytest.raises(CorpusError) as caught:
        assign([Path(f"{name}.TextGrid") for name in names], UIDS)
    assert told in str(caught.value)


def test_files_are_found_anywhere_below_in_any_case_of_the_suffix(tmp_path: Path) -> None:
    for name in ("b/x.TextGrid", "a/y.textgrid", "z.TEXTGRID", ".hidden/v.TextGrid", "._x.TextGrid", "x.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert [path.as_posix() for path in find_textgrids(tmp_path)] == ["a/y.textgrid", "b/x.TextGrid", "z.TEXTGRID"]
    with pytest.raises(CorpusError, match=r"no \*\.TextGrid below it"):
        find_textgrids(tmp_path / "b" / "nothing")


def test_the_digest_is_of_content_and_names_and_not_of_the_place(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_textgrid(tmp_path / name / "a.TextGrid", TIERS)
    first = digest(tmp_path / "one")
    assert digest(tmp_path / "two") == first
    (tmp_path / "two" / "a.TextGrid").write_text(long_format(TIERS).replace("0.5", "0.4"))
    assert digest(tmp_path / "two") != first
    (tmp_path / "one" / "a.TextGrid").rename(tmp_path / "one" / "b.TextGrid")
    assert digest(tmp_path / "one") != first
