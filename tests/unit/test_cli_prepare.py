"""`orch prepare`: the counts and the faulty rows that it prints, and when it exits with 1."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.display.corpus import corpus_view
from tests.helpers import crema_d_trees, iemocap_trees, manifest_trees
from tests.helpers.cli import bare_machine, orch
from tests.helpers.meld_trees import row, write_csvs, write_tree
from tests.helpers.textgrids import write_textgrid
from trainables.prepare import PrepareSummary, SplitCount


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare_machine(tmp_path, monkeypatch)


@pytest.fixture
def texts(tmp_path: Path) -> str:
    """MELD's three CSV files alone, with 2, 1 and 3 rows."""
    rows = {
        "train": [row(0, 0), row(0, 1)],
        "dev": [row(2, 0)],
        "test": [row(3, 0), row(3, 1), row(4, 0)],
    }
    return str(write_csvs(tmp_path / "meld", rows))


def squeezed(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_counts_stand_beside_the_official_ones(texts: str) -> None:
    found = orch("prepare", "meld", "--root", texts, "--modalities", "text")
    assert found.code == 0
    lines = squeezed(found.out)
    assert "split rows official not ok" in lines
    assert [line for line in lines if line.startswith(("train", "dev", "test"))] == [
        "train 2 9989 0 -9987",
        "dev 1 1109 0 -1108",
        "test 3 2610 0 -2607",
    ]
    assert "prepare meld: " in found.err
    assert "\x1b" not in found.out + found.err


def test_strict_asks_for_the_official_counts(texts: str) -> None:
    found = orch("prepare", "meld", "--root", texts, "--modalities", "text", "--strict")
    assert found.code == 1
    assert "train 2 9989" in " ".join(found.out.split())


def test_every_row_that_is_not_ok_is_named_with_its_reason(tmp_path: Path) -> None:
    rows = {"train": [row(0, 0)], "dev": [row(1, 0)], "test": [row(2, 0), row(2, 1)]}
    root = write_tree(tmp_path / "meld", rows)
    next(root.rglob("dia2_utt1.mp4")).unlink()
    found = orch("prepare", "meld", "--root", str(root))
    assert found.code == 0
    lines = squeezed(found.out)
    assert "Rows that are not ok" in lines
    assert any(line.startswith("test-dia2-utt1 missing_media ") for line in lines)
    assert "by status: missing_media 1" in lines
    assert "test 2 2610 1 -2608" in lines


def test_the_stand_in_says_what_it_is_and_what_its_rules_allow() -> None:
    counts = tuple(SplitCount(split, rows, None, 0) for split, rows in (("train", 8), ("dev", 1), ("test", 2)))
    found = PrepareSummary(counts, {}, (), (), ("dia0_utt9.mp4",), stand_in=True)
    stream = io.StringIO()
    view = corpus_view(found, "/data/corpora/01", {"audio": 0.551, "text": 0.552, "audio+text": 0.71})
    Console(file=stream, width=80, color_system=None).print(view)
    text = "\n".join(squeezed(stream.getvalue()))
    assert text.startswith("STAND-IN CORPUS")
    assert "Bayes ceilings (weighted_f1): audio 0.551, text 0.552, audio+text 0.710\n" in text
    assert "train 8 – 0\n" in text
    assert "1 clip without a row, left out: dia0_utt9.mp4" in text


def test_a_cross_validated_corpus_is_one_line_and_its_folds(tmp_path: Path) -> None:
    root = iemocap_trees.write_tree(
        tmp_path / "iemocap", iemocap_trees.plain_turns(codes="neu fru xxx fru"), media=False
    )
    found = orch("prepare", "iemocap", "--root", str(root), "--modalities", "text")
    assert found.code == 0
    lines = squeezed(found.out)
    assert "60 raw rows left out: fru 40, xxx 20" in lines
    assert "all 20 5531 0 -5511" in lines
    start = lines.index("fold train dev test")
    assert lines[start + 1 : start + 6] == [f"{fold} 14 2 4" for fold in range(5)]
    assert not [line for line in lines if line.startswith(("train", "dev", "test"))]


@pytest.mark.parametrize(
    ("alignment", "told"),
    [
        ("corpus", "aligned: no row"),
        (
            "proportional",
            "aligned: 1 row by equal shares of the voiced part, 3 without; scores that use these segments compare "
            "with no one else's",
        ),
        ("textgrid=grids", "aligned: 1 row by TextGrids, 3 without"),
    ],
)
def test_one_line_says_by_what_the_rows_are_aligned(alignment: str, told: str, tmp_path: Path) -> None:
    mute = [row(number, 0, Utterance="…") for number in (1, 2, 3)]
    rows = {"train": [row(0, 0), mute[0]], "dev": [mute[1]], "test": [mute[2]]}
    root = write_tree(tmp_path / "meld", rows)
    write_textgrid(Path("grids/dia0_utt0.TextGrid"), {"words": [(0.0, 0.4, "hm")], "phones": [(0.0, 0.4, "M")]})
    found = orch("prepare", "meld", "--root", str(root), "--alignment", alignment)
    assert found.code == 0
    assert f" {told} corpus " in " ".join(found.out.split())


def test_fields_of_the_corpus_are_set_by_name(tmp_path: Path) -> None:
    lines = [manifest_trees.row(n, fold=n % 3, split=None) for n in range(6)]
    path = manifest_trees.write_csv(tmp_path / "own" / "rows.csv", lines)
    common = ("prepare", "manifest", "--root", str(path), "--modalities", "text", "--set", "folds=3")
    found = orch(*common, "--set", "labels=[cross, calm]")
    assert found.code == 0
    said = squeezed(found.out)
    assert "all 6 – 0" in said
    start = said.index("fold train dev test")
    assert said[start + 1 : start + 4] == [f"{fold} 2 2 2" for fold in range(3)]
    other = orch(*common, "--set", "labels=[joy, calm]")
    assert other.code == 2
    assert f"{path}: row 3: label 'cross'; labels are joy, calm" in " ".join(other.err.split())


def test_a_second_time_nothing_is_read_again(texts: str) -> None:
    arguments = ("prepare", "meld", "--root", texts, "--modalities", "text")
    first, second = orch(*arguments), orch(*arguments)
    assert second.out == first.out
    assert second.err == ""


def test_the_storage_may_lie_elsewhere(texts: str, tmp_path: Path) -> None:
    found = orch("prepare", "meld", "--root", texts, "--modalities", "text", "--storage", str(tmp_path / "other"))
    assert found.code == 0
    assert len(list((tmp_path / "other" / "corpora").glob("*/record.json"))) == 1
    assert not (tmp_path / "orch-store").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("manifest", "--set", "folds=2"), "--set folds 2: train, dev and test take three folds at least"),
        (
            ("ravdess", "--set", "protocol=ten"),
            "--set protocol: Input should be 'five' or 'actor' (corpus ravdess)",
        ),
        (("ravdess", "--set", "folds=5"), "--set folds: there is no such field (corpus ravdess)"),
        (("ravdess", "--set", "folds"), "--set 'folds': write it as field=value, e.g. folds=5"),
        (("meld",), "meld has no root: give --root DIR, or set ORCH_CORPORA__MELD"),
        (("standin", "--alignment", "guess"), "--alignment 'guess': give corpus, textgrid=DIR, ctc=CHECKPOINT or"),
        (("standin", "--alignment", "corpus=/x"), "--alignment 'corpus=/x': give corpus, textgrid=DIR"),
        (("standin", "--alignment", "textgrid"), "no folder of TextGrids is given; set ORCH_ALIGNMENTS__STANDIN"),
        (("standin", "--alignment", "textgrid=/x"), "alignments.standin = '/x' (from --alignment): there is no"),
        (("standin", "--alignment", "ctc=/nowhere"), "checkpoint '/nowhere': there is no such folder"),
        (("meld", "--root", "/nowhere"), "corpora.meld = '/nowhere' (from --root): there is no such folder"),
        (("standin", "--root", "."), "the stand-in corpus is made by rule and lies nowhere"),
        (("meld", "--root", ".", "--modalities", "video"), "--modalities 'video': give some of audio,text,visual"),
        (("meld", "--root", ".", "--modalities", ""), "--modalities '': give some of audio,text,visual"),
        (("emodb", "--modalities", "visual"), "--modalities 'visual': this corpus has audio, text, and no visual"),
        (("ravdess", "--modalities", "text,text"), "--modalities 'text,text': name each at most once"),
        (("ravdess", "--set", "modalities=[video]"), "--set modalities: 0: Input should be 'audio', 'text' or"),
        (("nonesuch",), "'nonesuch' is not one of"),
        (("iemocap",), "iemocap has no root: give --root DIR, or set ORCH_CORPORA__IEMOCAP"),
    ],
)
def test_what_cannot_be_prepared(arguments: tuple[str, ...], told: str) -> None:
    found = orch("prepare", *arguments)
    assert found.code == 2
    assert told in " ".join(found.err.replace("│", " ").split())


def test_a_corpus_of_stubs_is_told_with_the_way_out_before_it_is_read(tmp_path: Path) -> None:
    """CREMA-D as a zip download of its repository."""
    root = crema_d_trees.write_stubs(tmp_path / "crema", crema_d_trees.names())
    found = orch("prepare", "crema_d", "--root", str(root))
    assert found.code == 2
    told = " ".join(found.err.replace("│", " ").split())
    assert "12 of 12 files are Git-LFS stubs" in told
    assert "run `git lfs install`, then `git lfs pull`" in told
    assert "Traceback" not in found.err
    assert found.out == ""
    assert not (tmp_path / "orch-store" / "corpora").exists()


def test_a_few_stubs_are_rows_that_are_not_ok_and_explained_once(tmp_path: Path) -> None:
    names = crema_d_trees.names()
    root = crema_d_trees.write_tree(tmp_path / "crema", names)
    for name in names[:2]:
        crema_d_trees.write_stub(crema_d_trees.path_of(root, name))
    found = orch("prepare", "crema_d", "--root", str(root))
    assert found.code == 0
    lines = squeezed(found.out)
    assert [line.split()[:2] for line in lines if "lfs_stub" in line][:2] == [
        [name, "lfs_stub"] for name in names[:2]
    ]
    assert "by status: lfs_stub 2" in lines
    assert "all 12 7442 2 -7430" in lines
    said = " ".join(lines)
    assert said.count("2 of 12 files are Git-LFS stubs") == said.count("`git lfs pull`") == 1


def test_a_folder_that_is_not_the_corpus_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = orch("prepare", "meld", "--root", str(tmp_path / "empty"))
    assert found.code == 2
    assert str(tmp_path / "empty") in found.err
