"""The alignment of a whole corpus: every source, what it replaces, what it leaves, and what the record says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.helpers.ctc import write_checkpoint
from tests.helpers.meld_trees import row, write_csvs, write_tree
from tests.helpers.textgrids import write_textgrid
from trainables.alignment.base import Alignment, Segment
from trainables.alignment.sources import Clip
from trainables.alignment.step import align_shards, clipped, uids_of
from trainables.corpus import read_table, schema, write_shard
from trainables.errors import CorpusError
from trainables.prepare import PrepareSummary, corpus_fingerprint, prepare, problem_table
from trainables.spec import MeldSpec
from trainables.spec.any_corpus import CtcAlignment, OwnAlignment, ProportionalAlignment, TextGridAlignment
from trainables.storage import Storage

ROWS = {
    "train": [row(0, 0), row(0, 1), row(1, 0, Utterance="…")],
    "dev": [row(0, 0, Season="2")],
    "test": [row(0, 0, Season="3")],
}
TIERS = {
    "words": [(0.0, 0.1, ""), (0.1, 0.3, "master"), (0.3, 0.45, "of"), (0.6, 0.8, "late")],
    "phones": [(0.1, 0.15, "M"), (0.15, 0.2, "AE1"), (0.2, 0.22, "S"), (0.22, 0.25, "T"), (0.25, 0.3, "ER0"),
               (0.3, 0.4, "AH1"), (0.4, 0.52, "V"), (0.6, 0.8, "L")],
}  # fmt: skip
TEXTGRID = MeldSpec(alignment=TextGridAlignment())


def ignore(done: int, total: int) -> None:
    assert 0 <= done <= total


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of half a second; one of them is not there."""
    root = write_tree(tmp_path_factory.mktemp("meld"), ROWS)
    (root / "train_splits" / "dia0_utt1.mp4").unlink()
    return root


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "store"))


@pytest.fixture
def grids(tmp_path: Path) -> Path:
    """Of three rows: a good one, a broken one, and one without phones."""
    folder = tmp_path / "grids"
    write_textgrid(folder / "train" / "dia0_utt0.TextGrid", TIERS)
    write_textgrid(folder / "dev" / "dia0_utt0.TextGrid", TIERS).write_text("broken")
    write_textgrid(folder / "test-dia0-utt0.TextGrid", {"words": TIERS["words"]})
    return folder


def prepared(
    storage: Storage, spec: MeldSpec, root: Path, folder: Path | None = None
) -> tuple[dict[str, Any], PrepareSummary, dict[str, Any]]:
    """The rows by uid, what is shown of them, and the record's word on their alignment."""
    record = prepare(storage, spec, root, 1, ignore, alignments=folder)
    assert record.fingerprint == corpus_fingerprint(spec, root, folder)
    table = read_table(storage, record.fingerprint)
    assert table.schema.equals(schema())
    rows = {r["uid"]: r for r in table.to_pylist()}
    return rows, problem_table(record), record.info["alignment"]


def segments(values: list[dict[str, Any]]) -> list[tuple[str, float, float]]:
    return [(v["label"], round(v["start"], 3), round(v["end"], 3)) for v in values]


def test_textgrids_give_words_phones_and_syllables_within_the_audio(
    root: Path, storage: Storage, grids: Path
) -> None:
    rows, _, said = prepared(storage, TEXTGRID, root, grids)
    good = rows["train-dia0-utt0"]
    assert good["seconds"] == pytest.approx(0.5, abs=0.03)
    assert segments(good["words"]) == [("master", 0.1, 0.3), ("of", 0.3, 0.45)]
    assert [label for label, _, _ in segments(good["phones"])] == ["M", "AE1", "S", "T", "ER0", "AH1", "V"]
    assert segments(good["syllables"])[:2] == [("M AE1", 0.1, 0.2), ("S T ER0", 0.2, 0.3)]
    assert good["syllables"][-1]["end"] <= good["seconds"]
    assert said == {"source": {"none": 3, "textgrid": 2}, "comparable": True}
    assert Counter(r["aligned"] for r in rows.values()) == {"textgrid": 2, None: 3}


def test_a_faulty_textgrid_is_its_rows_remark(root: Path, storage: Storage, grids: Path) -> None:
    rows, shown, _ = prepared(storage, TEXTGRID, root, grids)
    broken, without = rows["dev-dia0-utt0"], rows["test-dia0-utt0"]
    assert (broken["words"], broken["aligned"], broken["status"]) == (None, None, "ok")
    assert "dia0_utt0.TextGrid: cannot be read as a TextGrid" in broken["reason"]
    assert without["phones"] is None
    assert [s["label"] for s in without["syllables"]] == ["ma", "ster", "of"]
    assert "no phone in a tier 'phones'" in without["reason"]
    remarks = {r.uid: r.reason for r in shown.remarks}
    assert {uid: rows[uid]["reason"] for uid in remarks} == remarks
    assert {"dev-dia0-utt0", "test-dia0-utt0"} <= remarks.keys()
    assert [p.uid for p in shown.problems] == ["train-dia0-utt1"]


def test_equal_shares_are_marked_as_not_comparable(root: Path, storage: Storage) -> None:
    rows, shown, said = prepared(storage, MeldSpec(alignment=ProportionalAlignment()), root)
    assert said == {"source": {"none": 2, "proportional": 3}, "comparable": False}
    assert (shown.aligned, shown.comparable) == (said["source"], False)
    found = rows["train-dia0-utt0"]  # "Utterance 0 of dialogue 0."
    assert [w["label"] for w in found["words"]] == ["Utterance", "0", "of", "dialogue", "0"]
    ends = [w["end"] for w in found["words"]]
    assert (found["words"][0]["start"], ends) == (pytest.approx(0, abs=0.05), sorted(ends))
    assert ends[-1] <= found["seconds"] + 1e-6
    assert rows["train-dia1-utt0"]["words"] is None  # "…"
    assert rows["train-dia0-utt1"]["words"] is None  # no clip


def test_a_ctc_model_aligns_what_it_can_spell(root: Path, storage: Storage, tmp_path: Path) -> None:
    spec = MeldSpec(alignment=CtcAlignment(checkpoint=str(write_checkpoint(tmp_path / "model"))))
    rows, _, said = prepared(storage, spec, root)
    assert said == {"source": {"ctc": 3, "none": 2}, "comparable": True}
    found = rows["train-dia0-utt0"]["words"]  # a, b and é alone are in its vocabulary
    assert [w["label"] for w in found] == ["Utterance", "dialogue"]
    assert found[0]["end"] <= found[1]["start"]


def test_the_corpuss_own_is_nothing_where_it_has_none(root: Path, storage: Storage) -> None:
    rows, shown, said = prepared(storage, MeldSpec(), root)
    assert {r["aligned"] for r in rows.values()} == {None}
    assert said == {"source": {"none": 5}, "comparable": True}
    assert shown.aligned == {"none": 5}


def test_the_fingerprint_goes_by_what_the_files_hold(root: Path, grids: Path, tmp_path: Path) -> None:
    own = corpus_fingerprint(MeldSpec(), root)
    assert own == corpus_fingerprint(MeldSpec(alignment=OwnAlignment()), root, grids)
    first = corpus_fingerprint(TEXTGRID, root, grids)
    moved = grids.rename(tmp_path / "moved")
    assert corpus_fingerprint(TEXTGRID, root, moved) == first
    (moved / "dev" / "dia0_utt0.TextGrid").write_text("mended")
    other = corpus_fingerprint(TEXTGRID, root, moved)
    tier = corpus_fingerprint(MeldSpec(alignment=TextGridAlignment(words="ORT")), root, moved)
    shares = corpus_fingerprint(MeldSpec(alignment=ProportionalAlignment()), root)
    assert len({own, first, other, tier, shares}) == 5
    with pytest.raises(CorpusError, match="ORCH_ALIGNMENTS__"):
        corpus_fingerprint(TEXTGRID, root)


def test_the_fingerprint_goes_by_the_models_content(root: Path, tmp_path: Path) -> None:
    def of(checkpoint: Path) -> str:
        return corpus_fingerprint(MeldSpec(alignment=CtcAlignment(checkpoint=str(checkpoint))), root)

    first = of(write_checkpoint(tmp_path / "model"))
    moved = (tmp_path / "model").rename(tmp_path / "moved")
    assert of(moved) == first
    (moved / "vocab.json").write_text('{"A": 1}')
    assert of(moved) != first


def test_a_folder_of_somebody_elses_textgrids_is_refused(root: Path, storage: Storage, tmp_path: Path) -> None:
    write_textgrid(tmp_path / "other" / "elsewhere.TextGrid", TIERS)
    with pytest.raises(CorpusError, match=r"none of its 1 TextGrids .* elsewhere.* train-dia0-utt0\.TextGrid"):
        prepare(storage, TEXTGRID, root, 1, ignore, alignments=tmp_path / "other")


def test_the_progress_of_both_passes_is_one(root: Path, storage: Storage) -> None:
    seen: list[tuple[int, int]] = []
    spec = MeldSpec(alignment=ProportionalAlignment())
    prepare(storage, spec, root, 1, lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert (seen[0], seen[-1], len(seen)) == ((0, 5), (5, 5), 10)


def test_text_alone_has_nothing_to_align(tmp_path: Path, storage: Storage) -> None:
    spec = MeldSpec(modalities=("text",), alignment=ProportionalAlignment())
    _, _, said = prepared(storage, spec, write_csvs(tmp_path / "texts"))
    assert said["source"] == {"none": 3}


def shard(path: Path, *rows: dict[str, Any]) -> Path:
    base: dict[str, Any] = dict.fromkeys(("split", "dialogue", "speaker", "label", "text", "status", "reason"), "x")
    base |= {"turn": 0, "text_hash": 1, "seconds": 1.0, "raw_seconds": 1.0, "audio": b"flac"}
    write_shard(pa.Table.from_pylist([base | r for r in rows], schema=schema()), path)
    return path


def own(*spans: tuple[str, float, float]) -> list[dict[str, Any]]:
    return [Segment(*span)._asdict() for span in spans]


def test_own_alignments_stay_and_syllables_are_filled_in(tmp_path: Path) -> None:
    whole = {"uid": "whole", "phones": own(("AH0", 0, 0.5)), "syllables": own(("uh", 0, 0.5)), "aligned": "corpus"}
    phones = {"uid": "phones", "phones": own(("OW1", 0, 0.2), ("N", 0.2, 0.3), ("ER0", 0.3, 0.5))}
    words = {"uid": "words", "words": own(("table", 0.0, 1.0))}
    path = shard(tmp_path / "utterances-00000.parquet", whole, phones, words, {"uid": "bare", "words": []})
    assert uids_of([path]) == ["whole", "phones", "words", "bare"]
    found = align_shards([path], None, "en", ignore)
    assert found.sources == {"corpus": 3, "none": 1}
    rows = {r["uid"]: r for r in read_rows(path)}
    assert [s["label"] for s in rows["whole"]["syllables"]] == ["uh"]
    assert segments(rows["phones"]["syllables"]) == [("OW1", 0.0, 0.2), ("N ER0", 0.2, 0.5)]
    assert segments(rows["words"]["syllables"]) == [("ta", 0.0, 0.4), ("ble", 0.4, 1.0)]
    assert (rows["words"]["phones"], rows["bare"]["words"], rows["bare"]["aligned"]) == (None, None, None)
    once = path.read_bytes()
    align_shards([path], None, "en", ignore)
    assert path.read_bytes() == once


class OneWord:
    """Aligns the first row alone, and has something to say of the second."""

    def align(self, clip: Clip) -> tuple[Alignment | None, str]:
        if clip.uid != "a":
            return None, "no luck"
        return Alignment((Segment("new", -0.1, 0.4), Segment("late", 1.0, 2.0)), source="textgrid"), ""


def test_another_source_replaces_what_is_there(tmp_path: Path) -> None:
    old = {"words": own(("old", 0, 1)), "phones": own(("AH0", 0, 1)), "aligned": "corpus"}
    paths = [
        shard(tmp_path / f"utterances-{i:05d}.parquet", *({"uid": uid} | old for uid in uids))
        for i, uids in enumerate(("ab", "c"))
    ]
    found = align_shards(paths, OneWord(), "en", ignore)
    rows = {r["uid"]: r for path in paths for r in read_rows(path)}
    assert segments(rows["a"]["words"]) == [("new", 0.0, 0.4)]
    assert (rows["a"]["phones"], rows["a"]["syllables"], rows["a"]["aligned"]) == (None, None, "textgrid")
    assert [(rows[uid]["words"], rows[uid]["aligned"], rows[uid]["reason"]) for uid in "bc"] == [
        (None, None, "x; no luck")
    ] * 2
    assert (found.sources, found.remarks) == ({"textgrid": 1, "none": 2}, {"b": "no luck", "c": "no luck"})


def test_segments_are_cut_to_the_audio() -> None:
    spans = (Segment("a", -0.2, 0.1), Segment("b", 0.4, 0.9), Segment("c", 0.5, 0.6), Segment("d", -0.2, 0.0))
    found = clipped(Alignment(spans, spans, spans, "ctc"), 0.5)
    assert found.words == found.phones == found.syllables == (("a", 0.0, 0.1), ("b", 0.4, 0.5))


def read_rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows
