"""What every importer keeps to, whichever corpus it reads."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import soundfile

from tests.helpers import (
    crema_d_trees,
    emodb_trees,
    feature_trees,
    iemocap_trees,
    manifest_trees,
    mosei_trees,
    ravdess_trees,
)
from tests.helpers.meld_trees import row, write_tree
from tests.helpers.sounds import write_sound
from trainables.corpus import SAMPLE_RATE, SPLITS, USABLE_AUDIO, read_table, schema, text_hash
from trainables.importers import IMPORTERS
from trainables.prepare import corpus_fingerprint, prepare, problem_table
from trainables.spec import (
    CorpusSpec,
    CremaDSpec,
    EmoDBSpec,
    FeaturesCorpusSpec,
    IemocapSpec,
    ManifestSpec,
    MeldSpec,
    MoseiSpec,
    RavdessSpec,
    StandInSpec,
)
from trainables.storage import Storage

ROWS = {
    "train": [row(0, 0), row(0, 1, Emotion="joy"), row(12, 0), row(2, 0)],
    "dev": [row(0, 0, Season="2"), row(0, 1, Season="2")],
    "test": [row(0, 0, Season="3"), row(0, 1, Season="3", StartTime="00:00:03,000", EndTime="00:00:03,000")],
}


@dataclass(frozen=True)
class Example:
    spec: CorpusSpec
    other: CorpusSpec
    """One that must have another fingerprint."""
    root: Path | None


def meld(folder: Path) -> Example:
    """One faultless clip a row but for one absent and one corrupt."""
    root = write_tree(folder, ROWS)
    (root / "train_splits" / "dia0_utt1.mp4").unlink()
    (root / "output_repeated_splits_test" / "dia0_utt0.mp4").write_bytes(b"no clip")
    return Example(MeldSpec(), MeldSpec(max_seconds=5), root)


def iemocap(folder: Path) -> Example:
    """Two dialogues a session, one wav absent and one corrupt, a label that is not in use."""
    turns = iemocap_trees.plain_turns(codes="neu ang sad hap fru")
    root = iemocap_trees.write_tree(folder, turns)
    iemocap_trees.wav_of(root, "Ses02F_impro01_M001").unlink()
    iemocap_trees.wav_of(root, "Ses04M_script01_1_F002").write_bytes(b"no wav")
    return Example(IemocapSpec(), IemocapSpec(protocol="speaker"), root)


def crema_d(folder: Path) -> Example:
    """Five actors, one file that is a stub and one corrupt; votes of all but one clip."""
    names = crema_d_trees.names(range(1001, 1006))
    root = crema_d_trees.write_tree(folder, names)
    crema_d_trees.write_tabulated(root, dict.fromkeys(names[1:], ((3, 1, 0, 0, 1, 0),) * 3))
    crema_d_trees.write_stub(crema_d_trees.path_of(root, names[2]))
    crema_d_trees.path_of(root, names[4]).write_bytes(b"no wav")
    return Example(CremaDSpec(), CremaDSpec(labels="perceived"), root)


def emodb(folder: Path) -> Example:
    """Two utterances a speaker, one cut short and one corrupt; labels of one of them."""
    names = emodb_trees.names()
    root = emodb_trees.write_tree(folder, names)
    emodb_trees.write_syllables(root, names[3])
    write_sound(root / "wav" / f"{names[5]}.wav", 0.05)
    (root / "wav" / f"{names[8]}.wav").write_bytes(b"no wav")
    return Example(EmoDBSpec(), EmoDBSpec(min_seconds=1), root)


def ravdess(folder: Path) -> Example:
    """Six actors, one file too long and one corrupt."""
    names = ravdess_trees.names(range(1, 7))
    root = ravdess_trees.write_tree(folder, names)
    write_sound(root / "Actor_02" / f"{names[2]}.wav", 3)
    (root / "Actor_03" / f"{names[4]}.wav").write_bytes(b"no wav")
    return Example(RavdessSpec(max_seconds=2), RavdessSpec(), root)


def manifest(folder: Path) -> Example:
    """Two turns a dialogue, one file absent and one corrupt."""
    lines = manifest_trees.rows()
    for n, line in enumerate(lines):
        line |= {"uid": f"d{n // 2}-{n % 2}", "dialogue": f"d{n // 2}", "speaker": "ab"[n % 2]}
    root = manifest_trees.write_tree(folder, lines)
    (root / "clips" / "1.wav").unlink()
    (root / "clips" / "6.wav").write_bytes(b"no wav")
    return Example(ManifestSpec(), ManifestSpec(labels=("cross", "calm")), root)


def features(folder: Path) -> Example:
    """Three modalities, one of them missing in a row."""
    found = feature_trees.arrays()
    for split, rows in feature_trees.ROWS.items():
        found[f"glove_{split}"] = feature_trees.sequences(rows, 2, 5)
    found["audio_train"][2] = 0
    root = feature_trees.write_npz(folder / "mosi.npz", found)
    return Example(FeaturesCorpusSpec(), FeaturesCorpusSpec(labels=("calm", "cross")), root)


def mosei(folder: Path) -> Example:
    """Videos of three splits, one wav absent and one corrupt, a segment without length, a tie."""
    ids = list(mosei_trees.NUMBERS)
    found = {video: mosei_trees.pair(n) for n, video in enumerate(ids)}
    found[ids[0]] += [mosei_trees.Segment((3, 3)), mosei_trees.Segment((3, 4), mosei_trees.scores(sad=1, fear=1))]
    root = mosei_trees.write_tree(folder, found)
    mosei_trees.sound_path(root, ids[1]).unlink()
    mosei_trees.sound_path(root, ids[2]).write_bytes(b"no wav")
    return Example(MoseiSpec(task="one"), MoseiSpec(), root)


def standin(folder: Path) -> Example:
    pytest.importorskip("espeakng_loader", reason="the stand-in's speech needs the extra 'standin'")
    return Example(StandInSpec(utterances=60), StandInSpec(utterances=60, seed=1), None)


EXAMPLES = {
    "crema_d": crema_d,
    "emodb": emodb,
    "features": features,
    "iemocap": iemocap,
    "manifest": manifest,
    "meld": meld,
    "mosei": mosei,
    "ravdess": ravdess,
    "standin": standin,
}


def ignore(done: int, total: int) -> None:
    assert 0 <= done <= total


def test_every_importer_has_an_example() -> None:
    assert EXAMPLES.keys() == IMPORTERS.keys()


@pytest.fixture(params=sorted(IMPORTERS))
def example(request: pytest.FixtureRequest, tmp_path: Path) -> Example:
    return EXAMPLES[request.param](tmp_path / "raw")


def test_rows_keep_the_corpuss_rules(example: Example, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "store"))
    record = prepare(storage, example.spec, example.root, 1, ignore)
    table = read_table(storage, record.fingerprint)
    assert table.schema.equals(schema())
    rows = table.to_pylist()
    assert len({r["uid"] for r in rows}) == len(rows)
    if example.spec.fold_count:
        assert record.rows == {"all": len(rows)}
        order = [(r["dialogue"], r["turn"]) for r in rows]
        assert order == sorted(order)
        for fold in range(example.spec.fold_count):
            assert {r["folds"][fold] for r in rows} == set(SPLITS)
    else:
        assert {s: sum(r["split"] == s for r in rows) for s in SPLITS} == record.rows
        numbers = [(SPLITS.index(r["split"]), *map(int, re.findall(r"\d+", r["uid"]))) for r in rows]
        assert numbers == sorted(numbers)
    for r in rows:
        assert len(r["folds"] or ()) == example.spec.fold_count
        assert r["split"] == (r["folds"] or [r["split"]])[0]
        assert r["votes"] is None or sum(r["votes"]) == pytest.approx(1)
        assert r["text_hash"] == text_hash(r["text"])
        assert r["uid"].startswith(r["dialogue"])
        assert r["speaker"]
        assert r["label"] in record.info["labels"]
        assert (r["audio"] is not None) == (r["status"] in USABLE_AUDIO and not example.spec.vectors)
        assert bool(r["reason"]) >= (r["status"] != "ok")
        if r["audio"] is not None:
            sound = soundfile.info(io.BytesIO(r["audio"]))
            assert (sound.format, sound.samplerate, sound.channels) == ("FLAC", SAMPLE_RATE, 1)
            assert sound.frames == round(r["seconds"] * SAMPLE_RATE)
            assert example.spec.min_seconds <= r["seconds"] + 1e-4 <= example.spec.max_seconds + 2e-4
        else:
            assert r["seconds"] == 0
    shown = {p.uid: p.status for p in problem_table(record).problems}
    assert shown == {r["uid"]: r["status"] for r in rows if r["status"] != "ok"}


def test_the_bytes_do_not_depend_on_the_workers(example: Example, tmp_path: Path) -> None:
    records = [
        prepare(Storage(str(tmp_path / f"store-{workers}")), example.spec, example.root, workers, ignore)
        for workers in (1, 2)
    ]
    assert records[0].files == records[1].files
    assert records[0].info == records[1].info


def test_the_fingerprint_is_of_the_spec_and_the_source(example: Example) -> None:
    first = corpus_fingerprint(example.spec, example.root)
    assert first == corpus_fingerprint(example.spec, example.root)
    assert first != corpus_fingerprint(example.other, example.root)
    text = example.spec.model_copy(update={"modalities": ("text",)})
    assert first != corpus_fingerprint(text, example.root)


def test_text_alone_has_the_same_rows_without_audio(example: Example, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "store"))
    both, text = (
        read_table(storage, prepare(storage, spec, example.root, 1, ignore).fingerprint)
        for spec in (example.spec, example.spec.model_copy(update={"modalities": ("text",)}))
    )
    columns = ["uid", "split", "dialogue", "turn", "speaker", "label", "text", "votes", "folds"]
    assert text.select(columns).equals(both.select(columns))
    assert text["audio"].null_count == text.num_rows
    assert set(text["status"].to_pylist()) <= {"ok", "duplicate"}


def test_labels_and_counts_are_stated(example: Example) -> None:
    importer = IMPORTERS[example.spec.type]
    assert len(set(importer.labels)) == len(importer.labels)
    assert len(importer.labels) >= 2 or isinstance(example.spec, ManifestSpec | FeaturesCorpusSpec)  # their own
    assert set(importer.expected) in (set(), {"all"} if example.spec.fold_count else set(SPLITS))
    assert importer.stand_in == (example.root is None)
