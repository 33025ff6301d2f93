"""Every teacher alike: tuned, resumed, published, loaded and harvested; nothing of test is fitted on."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.batches import row_of
from tests.helpers.teachers import CORPUS, small_corpus, small_run, text_run, wav2vec_checkpoint
from trainables.artifacts import read_record
from trainables.errors import ArtifactError
from trainables.features import log_mel
from trainables.reporter import ListReporter
from trainables.spec import AudioTeacher, FineTuning, Pretrained, RunSpec, TeacherName
from trainables.spec.needs import Needs
from trainables.storage import Storage
from trainables.teachers.data import decode
from trainables.teachers.finish import finish
from trainables.teachers.harvest import Harvester
from trainables.teachers.identity import TeacherReads, prefix, publish_teacher, teacher_fingerprints
from trainables.teachers.plan import HarvestPlan
from trainables.teachers.store import fetch_teacher
from trainables.teachers.tuning import fine_tune
from trainables.teachers.utterances import read_utterances
from trainables.transfer_set import TransferSet, materialise

NAMES: tuple[TeacherName, ...] = ("audio", "text", "fusion")


@dataclass
class FolderReporter(ListReporter):
    """Keeps the latest checkpoint in a folder and dies after `die_after` reports."""

    folder: Path = Path()
    die_after: int | None = None
    saved: list[str] = field(default_factory=list)

    def save(self, folder: Path) -> None:
        self.saved = sorted(p.name for p in folder.iterdir())
        shutil.copytree(folder, self.folder, dirs_exist_ok=False) if not self.folder.exists() else [
            shutil.copy(p, self.folder) for p in folder.iterdir()
        ]

    def restore(self, folder: Path) -> bool:
        if self.folder.exists():
            shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return self.folder.exists()

    def report(self, epoch: int, metrics: object) -> None:
        super().report(epoch, metrics)  # type: ignore[arg-type]
        if self.die_after == len(self.reports):
            raise KeyboardInterrupt


@dataclass(frozen=True)
class World:
    storage: Storage
    run: RunSpec
    teachers: dict[str, str]
    metrics: dict[str, dict[str, object]]
    transfer: TransferSet
    plan: HarvestPlan


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A corpus, its three teachers and their transfer set with attention maps."""
    folder = tmp_path_factory.mktemp("teachers")
    storage, run = Storage(str(folder / "store")), small_run()
    small_corpus(storage)
    teachers = {str(k): v for k, v in teacher_fingerprints(run, CORPUS).items()}
    metrics = {}
    for name in NAMES:
        reads, out = TeacherReads(CORPUS, teachers), folder / name
        metrics[str(name)] = fine_tune(name, run, storage, reads, out, ListReporter())
        publish_teacher(storage, name, run, reads, out, metrics=metrics[str(name)])
    plan = HarvestPlan(storage, run, CORPUS, teachers, Needs(logits=True, pooled=True, attention=True, frames=True))
    harvester = Harvester(plan)
    for index in plan.pending():
        harvester.shard(index)
    finish(plan)
    transfer = TransferSet.open(materialise(storage, plan.fingerprint, folder / "cache"))
    return World(storage, run, teachers, metrics, transfer, plan)


@pytest.mark.parametrize("name", NAMES)
def test_a_published_teacher_is_safetensors_and_json(world: World, name: TeacherName) -> None:
    record = read_record(world.storage, prefix(world.teachers[name]))
    assert record is not None and record.info["dev"]["weighted_f1"] > 0
    assert {"head.safetensors", "teacher.json"} <= set(record.files)
    assert {Path(f).suffix for f in record.files} <= {".safetensors", ".json"}
    assert ("model.safetensors" in record.files) is (name != "fusion")
    expected = {"corpus", "audio", "text"} if name == "fusion" else {"corpus"}
    assert set(record.reads) == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_teacher_is_the_tuned_one(world: World, name: TeacherName, tmp_path: Path) -> None:
    """Its own dev score comes back from the harvested logits of the stored teacher."""
    teacher = fetch_teacher(world.storage, world.teachers[name], tmp_path)
    assert teacher.labels == world.transfer.labels and not teacher.model.training
    assert not any(p.requires_grad for p in teacher.model.parameters())
    rows = world.transfer.rows("dev", ())
    predicted = world.transfer.teachers[name].logits[rows].argmax(1)
    dev = world.metrics[name]["dev"]
    assert isinstance(dev, dict)
    assert float((predicted == world.transfer.label[rows]).mean()) == pytest.approx(dev["accuracy"])


@pytest.mark.parametrize("name", NAMES)
def test_a_lost_worker_costs_one_epoch_and_no_bit(world: World, name: TeacherName, tmp_path: Path) -> None:
    reads = TeacherReads(CORPUS, world.teachers)
    dying = FolderReporter(folder=tmp_path / "checkpoint", die_after=1)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(name, world.run, world.storage, reads, tmp_path / "out", dying)
    assert {Path(f).suffix for f in dying.saved} == {".safetensors", ".json"}
    second = FolderReporter(folder=tmp_path / "checkpoint")
    metrics = fine_tune(name, world.run, world.storage, reads, tmp_path / "out", second)
    assert [epoch for epoch, _ in second.reports] == [2]
    assert metrics["dev"] == world.metrics[name]["dev"]
    stored = world.storage.read_bytes(f"{prefix(world.teachers[name])}/head.safetensors")
    assert (tmp_path / "out" / "head.safetensors").read_bytes() == stored


def test_test_is_never_read_for_tuning(world: World) -> None:
    rows = read_utterances(world.storage, CORPUS, ("neutral", "joy", "anger"), ["audio"])
    assert {split: len(u) for split, u in rows.items()} == {"train": 35, "dev": 12}


def test_rows_keep_the_order_of_the_corpus_and_none_is_lost(world: World) -> None:
    assert world.transfer.uid.tolist() == [f"u{i}" for i in range(60)]
    assert (~world.transfer.present("audio")).nonzero()[0].tolist() == [4, 37]
    assert len(world.transfer.rows("train", ("audio",))) == 35
    assert len(world.transfer.rows("test", ("audio",))) == 12


def test_frames_are_normalised_by_train_alone(world: World) -> None:
    data = world.transfer
    rows = data.rows("train", ("audio",))
    train = np.concatenate([row_of(data, "audio", i) for i in rows]).astype(np.float64)
    assert np.abs(train.mean(0)).max() < 1e-2 and np.abs(train.std(0) - 1).max() < 1e-2
    record = read_record(world.storage, world.plan.prefix)
    assert record is not None
    with world.storage.open(world.plan.shard_keys()[0]) as handle:
        clip = pq.read_table(handle)["audio"][7].as_py()
    raw = log_mel(decode(clip, 0.4), world.run.features).numpy()
    scale = record.info["streams"]["audio"]
    expected = (raw - np.asarray(scale["mean"])) / np.asarray(scale["std"])
    assert np.allclose(row_of(data, "audio", 7), expected, atol=2e-2)


def test_the_token_table_holds_the_teacher_s_rows(world: World, tmp_path: Path) -> None:
    data = world.transfer
    pieces_of = data.streams["text"]
    assert data.token_table is not None
    assert pieces_of.values.max() < pieces_of.width == len(data.token_table)
    text = fetch_teacher(world.storage, world.teachers["text"], tmp_path).encoder.loaded
    pieces = text.tokenizer("happy words number 1", add_special_tokens=False)["input_ids"]
    weights = text.model.get_input_embeddings().weight[torch.tensor(pieces)].numpy()
    assert np.array_equal(data.token_table[row_of(data, "text", 1)], weights)


def test_attention_maps_are_there_where_asked_for_and_empty_without_audio(world: World) -> None:
    audio, text = (world.transfer.teachers[t].attention for t in ("audio", "text"))
    assert audio is not None and text is not None and audio.shape == (60, 16, 16)
    assert not audio[[4, 37]].any() and audio[0].any() and text[4].any()
    assert world.transfer.teachers["fusion"].attention is None


def test_pooled_is_the_mean_of_the_stored_frames(world: World) -> None:
    text = world.transfer.teachers["text"]
    assert text.frames is not None and text.frame_offsets is not None
    mean = text.frames[text.frame_offsets[3] : text.frame_offsets[4]].astype(np.float32).mean(0)
    assert np.allclose(mean, text.pooled[3], atol=5e-3)


def test_a_harvest_resumes_at_the_missing_shard_and_ends_once(world: World) -> None:
    plan = HarvestPlan(world.storage, world.run, CORPUS, world.teachers, Needs(logits=True, pooled=True))
    assert plan.fingerprint != world.plan.fingerprint and plan.pending() == [0, 1]
    with pytest.raises(ArtifactError, match=r"shards \[0, 1\] are missing"):
        finish(plan)
    Harvester(plan).shard(1)
    assert plan.pending() == [0]
    Harvester(plan).shard(0)
    record = finish(plan)
    assert record.rows == {"train": 36, "dev": 12, "test": 12}
    assert finish(plan) == record
    assert not any("attention" in c or c.endswith(".frames") for c in _columns(plan))


def _columns(plan: HarvestPlan) -> list[str]:
    with plan.storage.open(plan.key(0)) as handle:
        return [str(name) for name in pq.read_schema(handle).names]


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_a_pretrained_wav2vec_is_tuned_but_for_its_front_end(world: World, tmp_path: Path, norm: str) -> None:
    checkpoint = wav2vec_checkpoint(tmp_path / "base", norm)
    audio = AudioTeacher(
        encoder=Pretrained(checkpoint=str(checkpoint)), training=FineTuning(epochs=1, learning_rate=1e-3)
    )
    run = world.run.model_copy(update={"teachers": world.run.teachers.model_copy(update={"audio": audio})})
    fine_tune("audio", run, world.storage, TeacherReads(CORPUS), tmp_path / "out", ListReporter(), microbatch=5)
    before, after = (load_file(d / "model.safetensors") for d in (checkpoint, tmp_path / "out"))
    moved = {k for k in before if not torch.equal(before[k], after[k])}
    assert moved and not any(k.startswith("feature_extractor") for k in moved)
    assert json.loads((tmp_path / "out" / "wave.json").read_text())["mask"] is (norm == "layer")


def test_a_text_only_corpus_needs_no_media(world: World, tmp_path: Path) -> None:
    from tests.helpers.teachers import bert_checkpoint

    run = text_run(bert_checkpoint(tmp_path / "bert"), epochs=1)
    storage = Storage(str(tmp_path / "store"))
    small_corpus(storage, shards=1)
    reads = TeacherReads(CORPUS)
    metrics = fine_tune("text", run, storage, reads, tmp_path / "out", ListReporter())
    identity = publish_teacher(storage, "text", run, reads, tmp_path / "out", metrics=metrics).fingerprint
    plan = HarvestPlan(storage, run, CORPUS, {"text": identity}, Needs(logits=True))
    Harvester(plan).shard(0)
    finish(plan)
    data = TransferSet.open(materialise(storage, plan.fingerprint, tmp_path / "cache"))
    assert (
        list(data.streams) == ["text"]
        and list(data.teachers) == ["text"]
        and len(data.rows("train", ("text",))) == 36
    )
