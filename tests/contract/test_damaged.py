"""Damaged test splits of a harvested corpus: only what is harmed differs, and it is made as clean rows are."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from tests.helpers.batches import row_of
from tests.helpers.teachers import CORPUS, LABELS, small_corpus, three_run
from tests.helpers.teachers import small_run as teachers_run
from trainables import corpus
from trainables.artifacts import Record, publish, read_record
from trainables.batching import Batcher
from trainables.corruption.noise import at_snr, white
from trainables.corruption.words import dropped
from trainables.determinism import derive
from trainables.errors import ArtifactError
from trainables.evaluation import predict
from trainables.features import log_mel
from trainables.reporter import ListReporter
from trainables.spec import RunSpec
from trainables.spec.base import MODALITIES, Modality
from trainables.spec.needs import Needs
from trainables.spec.robustness import RobustnessSpec
from trainables.storage import Storage
from trainables.students import build_student
from trainables.teachers.damaged import Damager, finish_damaged
from trainables.teachers.damaged_plan import DamagedPlan
from trainables.teachers.finish import finish
from trainables.teachers.harvest import Harvester
from trainables.teachers.identity import TeacherReads, publish_teacher, teacher_fingerprints
from trainables.teachers.plan import HarvestPlan
from trainables.teachers.tuning import fine_tune
from trainables.transfer_set import TransferSet, materialise

SPEC = RobustnessSpec(
    snr=(0.0,), words_dropped=(0.5,), words_substituted=(0.5,), frames_dropped=(0.7,), voices=3, seed=5
)
HARMED: dict[str, Modality] = {
    "white-0dB": "audio",
    "babble-0dB": "audio",
    "words-dropped-50%": "text",
    "words-substituted-50%": "text",
    "frames-dropped-70%": "visual",
}
NEEDS = Needs(logits=True, pooled=True, attention=True)


@dataclass(frozen=True)
class World:
    plan: DamagedPlan
    clean: TransferSet
    damaged: TransferSet

    def pairs(self, condition: str) -> list[tuple[int, int]]:
        """The row of each test utterance in the clean and in the damaged set."""
        rows = self.clean.rows("test", ()), self.damaged.rows(condition, ())
        return [(int(a), int(b)) for a, b in zip(*rows, strict=True)]


def published_teachers(storage: Storage, run: RunSpec, folder: Path) -> dict[str, str]:
    teachers = {str(k): v for k, v in teacher_fingerprints(run, CORPUS).items()}
    for name in run.teachers.names:
        reads, out = TeacherReads(CORPUS, teachers), folder / name
        metrics = fine_tune(name, run, storage, reads, out, ListReporter())
        publish_teacher(storage, name, run, reads, out, metrics=metrics)
    return teachers


def harvested(clean: HarvestPlan, folder: Path) -> World:
    harvester = Harvester(clean)
    for index in clean.pending():
        harvester.shard(index)
    finish(clean)
    plan = DamagedPlan.of(clean, SPEC)
    assert plan is not None
    damager = Damager(plan)
    for index in plan.pending():
        damager.shard(index)
    finish_damaged(plan)
    found = [TransferSet.open(materialise(clean.storage, p.fingerprint, folder)) for p in (clean, plan)]
    return World(plan, *found)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Three modalities, each with its teacher; of five shards the last alone has test rows."""
    folder = tmp_path_factory.mktemp("damaged")
    storage, run = Storage(str(folder / "store")), three_run(epochs=1)
    small_corpus(storage, shards=5, pictures=True)
    run = run.model_copy(update={"teachers": run.teachers.model_copy(update={"fusion": None})})
    return harvested(
        HarvestPlan(storage, run, CORPUS, published_teachers(storage, run, folder), NEEDS), folder / "cache"
    )


def test_every_condition_has_the_whole_test_split(world: World) -> None:
    assert sorted(set(world.damaged.split)) == sorted(HARMED)
    test = world.clean.rows("test", ())
    for name in HARMED:
        rows = world.damaged.rows(name, MODALITIES)
        assert world.damaged.uid[rows].tolist() == world.clean.uid[test].tolist()
        assert np.array_equal(world.damaged.label[rows], world.clean.label[test])
    assert world.damaged.teachers == {} and not world.damaged.segments
    record = read_record(world.plan.storage, world.plan.prefix)
    assert record is not None and record.rows == dict.fromkeys(HARMED, 12)
    assert record.info["kind"] == "damaged" and record.info["clean"] == world.clean.fingerprint
    assert list(record.info["conditions"]) == list(HARMED)


@pytest.mark.parametrize("name", HARMED)
def test_only_what_is_harmed_differs(world: World, name: str) -> None:
    differs = dict.fromkeys(MODALITIES, 0)
    for clean, damaged in world.pairs(name):
        for modality in MODALITIES:
            one, other = row_of(world.clean, modality, clean), row_of(world.damaged, modality, damaged)
            differs[modality] += not np.array_equal(one, other)
            assert len(one) == len(other) or modality == "text"
    harmed = differs.pop(HARMED[name])
    # Of twelve rows; a text may keep its few words, and who has one picture cannot lose it.
    assert harmed >= {"audio": 12, "text": 8, "visual": 5}[HARMED[name]] and set(differs.values()) == {0}
    for modality in MODALITIES:
        rows = world.damaged.rows(name, ()), world.clean.rows("test", ())
        assert np.array_equal(world.damaged.present(modality)[rows[0]], world.clean.present(modality)[rows[1]])


def raw_row(world: World, uid: str) -> dict[str, Any]:
    rows = corpus.read_table(world.plan.storage, CORPUS).to_pylist()
    found: dict[str, Any] = next(row for row in rows if row["uid"] == uid)
    return found


def test_noise_is_heard_through_the_clean_set_s_features(world: World) -> None:
    """Log-mel of the noisy wave, normalised with what clean train frames are normalised with."""
    _, row = world.pairs("white-0dB")[3]
    clip = raw_row(world, str(world.damaged.uid[row]))["audio"]
    speech, _ = soundfile.read(io.BytesIO(clip), dtype="float32")
    noisy = at_snr(speech, white(len(speech), derive(5, "white", str(world.damaged.uid[row]))), 0.0)
    record = read_record(world.plan.storage, world.plan.clean.prefix)
    assert record is not None
    scale = record.info["streams"]["audio"]
    frames = log_mel(torch.from_numpy(noisy), world.plan.clean.run.features).numpy()
    expected = (frames - np.asarray(scale["mean"])) / np.asarray(scale["std"])
    assert np.allclose(row_of(world.damaged, "audio", row), expected, atol=3e-2)


def test_lost_words_are_pieces_of_the_clean_set_s_vocabulary(world: World) -> None:
    clean, row = world.pairs("words-dropped-50%")[1]
    uid = str(world.damaged.uid[row])
    text = raw_row(world, uid)["text"]
    left = dropped(text, 0.5, derive(5, "words_dropped", uid))
    assert left != text
    harvester = Harvester(world.plan.clean)
    assert row_of(world.damaged, "text", row).tolist() == harvester.tokens([left])[0].tolist()
    assert row_of(world.clean, "text", clean).tolist() == harvester.tokens([text])[0].tolist()
    assert world.damaged.streams["text"].width == world.clean.streams["text"].width


def test_a_student_is_evaluated_on_it_as_it_is(world: World) -> None:
    spec = {"type": "cross_modal_transformer", "modalities": MODALITIES, "width": 16, "heads": 2}
    run = RunSpec.model_validate({**world.plan.clean.run.model_dump(mode="json"), "student": spec})
    student = build_student(run.student, world.clean, seed=0)
    clean = predict(student, world.clean, "test")
    for name in HARMED:
        damaged = predict(student, world.damaged, name)
        assert np.array_equal(damaged.labels, clean.labels)
        assert not np.array_equal(damaged.logits, clean.logits)


def test_it_resumes_at_the_missing_shard_and_ends_once(world: World) -> None:
    fewer = replace(world.plan, conditions=world.plan.conditions[:1])
    assert fewer.fingerprint != world.plan.fingerprint and fewer.pending() == [0, 1, 2, 3, 4]
    damager = Damager(fewer)
    for index in (4, 0, 2):
        damager.shard(index)
    assert fewer.pending() == [1, 3]
    with pytest.raises(ArtifactError, match=r"shards \[1, 3\] are missing"):
        finish_damaged(fewer)
    for index in (1, 3):
        damager.shard(index)
    record = finish_damaged(fewer)
    assert record.rows == {"white-0dB": 12} and finish_damaged(fewer) == record


def test_the_same_plan_makes_the_same_bits(world: World, tmp_path: Path) -> None:
    before = world.plan.storage.read_bytes(world.plan.key(4))
    Damager(world.plan).shard(4)
    assert world.plan.storage.read_bytes(world.plan.key(4)) == before


def test_its_identity_is_that_of_what_bears_on_it(world: World) -> None:
    plan, clean = world.plan, world.plan.clean
    others = [
        plan,
        replace(plan, robustness=SPEC.model_copy(update={"seed": 6})),
        replace(plan, robustness=SPEC.model_copy(update={"voices": 4})),
        replace(plan, conditions=plan.conditions[1:]),
        replace(
            plan, clean=HarvestPlan(clean.storage, clean.run, clean.corpus, clean.teachers, Needs(logits=True))
        ),
    ]
    assert len({p.fingerprint for p in others}) == len(others)
    quiet = [replace(p, conditions=plan.conditions[:1]) for p in (others[0], others[2])]
    assert quiet[0].fingerprint == quiet[1].fingerprint  # without babble its voices say nothing


def test_nothing_is_damaged_before_the_clean_set_is_there(world: World) -> None:
    clean = HarvestPlan(
        world.plan.storage, world.plan.clean.run, CORPUS, world.plan.clean.teachers, Needs(logits=True)
    )
    with pytest.raises(ArtifactError, match="finish the clean harvest first"):
        Damager(replace(world.plan, clean=clean))


def test_where_the_student_reads_teachers_the_harmed_one_is_asked_again(tmp_path: Path) -> None:
    content = teachers_run(epochs=1).model_dump(mode="json")
    content["teachers"]["fusion"] = None
    content["corpus"] = {"type": "standin", "modalities": ["audio", "text"]}
    content["student"] = {"type": "multi_level_fusion", "width": 16, "heads": 2}
    run, storage = RunSpec.model_validate(content), Storage(str(tmp_path / "store"))
    small_corpus(storage, n=30, aligned=True)
    needs = Needs(logits=True, pooled=True) | run.student.needs
    plan = HarvestPlan(storage, run, CORPUS, published_teachers(storage, run, tmp_path), needs)
    world = harvested(plan, tmp_path / "cache")
    assert set(world.damaged.teachers) == {"audio", "text"}
    for name in ("white-0dB", "words-dropped-50%"):
        other: Modality = "text" if HARMED[name] == "audio" else "audio"
        for clean, damaged in world.pairs(name):
            one, two = (d.teachers[other] for d in (world.clean, world.damaged))
            assert np.array_equal(one.pooled[clean], two.pooled[damaged])
        heard = [d.teachers[HARMED[name]] for d in (world.clean, world.damaged)]
        assert not any(np.array_equal(heard[0].pooled[a], heard[1].pooled[b]) for a, b in world.pairs(name)[:1])
    batches = [
        Batcher(d, run.student).batch(np.asarray([pair[i] for pair in world.pairs("white-0dB")]))
        for i, d in enumerate((world.clean, world.damaged))
    ]
    for granularity, spans in batches[0].segments.items():
        assert torch.equal(spans.spans, batches[1].segments[granularity].spans) and spans.mask.any()
    student = build_student(run.student, world.clean, seed=0)
    assert predict(student, world.damaged, "babble-0dB").logits.shape == (6, 3)


def vectors_corpus(storage: Storage, folder: Path) -> None:
    """20 rows of [T, 2] of audio and [T, 3] of pictures; the last four are test."""
    rng, rows = np.random.default_rng(0), []
    for i in range(20):
        split = "train" if i < 12 else "dev" if i < 16 else "test"
        rows.append({
            "uid": f"u{i}", "split": split, "dialogue": f"d{i}", "turn": 0, "speaker": "", "label": LABELS[i % 3],
            "text": "", "text_hash": 0, "seconds": 1.0, "raw_seconds": 1.0, "status": "ok", "reason": "",
            "audio_vectors": rng.normal(size=2 * (5 + i)).astype(np.float32).tolist(),
            "visual_vectors": None if i == 19 else rng.normal(size=3 * (5 + i)).astype(np.float32).tolist(),
        })  # fmt: skip
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=corpus.schema()), folder / "utterances-00000.parquet")
    info = {"labels": list(LABELS), "multi_label": False, "widths": {"audio": 2, "visual": 3}, "stand_in": False}
    record = Record(kind="corpus", fingerprint=CORPUS, spec={}, created=datetime.now(UTC), info=info)
    publish(storage, corpus.prefix(CORPUS), folder, record)


def test_of_vectors_those_of_the_pictures_are_lost(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "store"))
    vectors_corpus(storage, tmp_path / "corpus")
    run = RunSpec.model_validate({
        "corpus": {"type": "features"}, "student": {"type": "cross_modal_transformer"},
        "teachers": dict.fromkeys(("audio", "text", "visual", "fusion")), "method": {"type": "supervised"},
    })  # fmt: skip
    world = harvested(HarvestPlan(storage, run, CORPUS, {}, Needs()), tmp_path / "cache")
    assert set(world.damaged.split) == {"frames-dropped-70%"}
    for clean, damaged in world.pairs("frames-dropped-70%"):
        assert np.array_equal(row_of(world.clean, "audio", clean), row_of(world.damaged, "audio", damaged))
        seen, shown = row_of(world.clean, "visual", clean), row_of(world.damaged, "visual", damaged)
        assert {s.tobytes() for s in shown} <= {s.tobytes() for s in seen}
        assert len(np.unique(shown, axis=0)) < len(seen) or len(seen) == 1
    assert world.damaged.present("visual").tolist() == [True, True, True, False]


def test_a_corpus_without_anything_to_harm_has_no_plan() -> None:
    run = RunSpec.model_validate({
        "corpus": {"type": "features", "modalities": ["audio"]},
        "student": {"type": "cross_modal_transformer", "modalities": ["audio"]},
        "teachers": dict.fromkeys(("audio", "text", "visual", "fusion")), "method": {"type": "supervised"},
    })  # fmt: skip
    clean = HarvestPlan(Storage("nowhere"), run, CORPUS, {}, Needs())
    assert DamagedPlan.of(clean, SPEC) is None
    assert DamagedPlan.of(clean, RobustnessSpec(enabled=False)) is None
