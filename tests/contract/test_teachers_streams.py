"""Teachers of pictures, of three modalities, of several labels, and harvests without a teacher."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.teachers import CORPUS, LABELS, PICTURE, image_checkpoint, small_corpus, small_run, three_run
from trainables.artifacts import read_record
from trainables.pictures import grey
from trainables.reporter import ListReporter
from trainables.spec import RunSpec, TeacherName
from trainables.spec.metrics import metrics_of
from trainables.spec.needs import Needs
from trainables.storage import Storage
from trainables.teachers.finish import finish
from trainables.teachers.harvest import Harvester
from trainables.teachers.identity import TeacherReads, prefix, publish_teacher, teacher_fingerprints
from trainables.teachers.plan import HarvestPlan
from trainables.teachers.store import fetch_teacher
from trainables.teachers.task import make_task
from trainables.teachers.tuning import TuningLoop, fine_tune
from trainables.teachers.utterances import read_utterances
from trainables.transfer_set import TransferSet, materialise

NEEDS = Needs(logits=True, pooled=True, attention=True, frames=True)


@dataclass(frozen=True)
class World:
    storage: Storage
    run: RunSpec
    teachers: dict[str, str]
    dev: dict[str, dict[str, float]]
    transfer: TransferSet
    plan: HarvestPlan


def world_of(folder: Path, run: RunSpec, needs: Needs = NEEDS, **corpus: bool) -> World:
    """A corpus, the teachers of `run` and their transfer set."""
    storage = Storage(str(folder / "store"))
    small_corpus(storage, **corpus)
    teachers = {str(k): v for k, v in teacher_fingerprints(run, CORPUS).items()}
    dev: dict[str, dict[str, float]] = {}
    for name in run.teachers.names:
        reads, out = TeacherReads(CORPUS, teachers), folder / name
        metrics = fine_tune(name, run, storage, reads, out, ListReporter(), microbatch=4)
        publish_teacher(storage, name, run, reads, out, metrics=metrics)
        dev[name] = metrics["dev"]
    plan = HarvestPlan(storage, run, CORPUS, teachers, needs)
    transfer = harvested(plan, folder)
    return World(storage, run, teachers, dev, transfer, plan)


def harvested(plan: HarvestPlan, folder: Path) -> TransferSet:
    harvester = Harvester(plan)
    for index in plan.pending():
        harvester.shard(index)
    finish(plan)
    return TransferSet.open(materialise(plan.storage, plan.fingerprint, folder / "cache"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return world_of(tmp_path_factory.mktemp("three"), three_run(epochs=3), pictures=True)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> World:
    run = small_run(epochs=3).model_dump(mode="json")
    run["corpus"] = {"type": "standin", "several": True}
    run["method"] = {"type": "supervised"}
    return world_of(tmp_path_factory.mktemp("several"), RunSpec.model_validate(run), several=True)


@pytest.mark.parametrize("name", ["visual", "fusion"])
def test_a_stored_teacher_of_pictures_harvests_its_own_dev_score(
    world: World, name: TeacherName, tmp_path: Path
) -> None:
    record = read_record(world.storage, prefix(world.teachers[name]))
    assert record is not None
    assert set(record.reads) == {"corpus"} | ({"audio", "text", "visual"} if name == "fusion" else set())
    assert ("picture.json" in record.files) is (name == "visual")
    teacher = fetch_teacher(world.storage, world.teachers[name], tmp_path, attention=True)
    assert teacher.labels == LABELS and not any(p.requires_grad for p in teacher.model.parameters())
    rows, outputs = world.transfer.rows("dev", ()), world.transfer.teachers[name]
    assert outputs.pooled.shape == (60, 48 if name == "fusion" else 16) and outputs.attention is None
    accuracy = float((outputs.logits[rows].argmax(1) == world.transfer.label[rows]).mean())
    assert accuracy == pytest.approx(world.dev[name]["accuracy"]) and accuracy > 0.5


@pytest.mark.parametrize("name", ["visual", "fusion"])
def test_tuning_again_gives_the_same_bytes(world: World, name: TeacherName, tmp_path: Path) -> None:
    reads = TeacherReads(CORPUS, world.teachers)
    fine_tune(name, world.run, world.storage, reads, tmp_path, ListReporter(), microbatch=4)
    stored = world.storage.read_bytes(f"{prefix(world.teachers[name])}/head.safetensors")
    assert (tmp_path / "head.safetensors").read_bytes() == stored


def test_rows_without_pictures_are_dev_s_alone(world: World) -> None:
    """u5 is of train and u38 of dev; u4, of train, has no audio."""

    def counts(*reads: str) -> list[int]:
        found = read_utterances(world.storage, CORPUS, LABELS, reads, frames=2)
        return [len(found[split]) for split in ("train", "dev")]

    assert counts("text") == [36, 12] and counts("visual") == [35, 12] and counts("audio", "visual") == [34, 12]
    images = read_utterances(world.storage, CORPUS, LABELS, ["visual"], frames=2)["dev"].images.to_pylist()
    assert [row and len(row) for row in images] == [2, 2, None, 2, 1, 2, 2, 2, 2, 1, 2, 2]  # of one to five


def test_the_student_s_pictures_are_small_grey_ones_and_black_where_there_are_none(world: World) -> None:
    stream = world.transfer.streams["visual"]
    assert (stream.kind, stream.width) == ("images", world.run.features.image_size)
    assert list(world.transfer.streams) == ["audio", "text", "visual"]
    assert (~world.transfer.present("visual")).nonzero()[0].tolist() == [5, 38]
    with world.storage.open(world.plan.shard_keys()[0]) as handle:
        images = pq.read_table(handle)["images"][7].as_py()
    assert np.array_equal(stream.values[stream.offsets[7] : stream.offsets[8]], grey(images, stream.width))
    assert np.diff(stream.offsets)[:7].tolist() == [1, 2, 3, 4, 5, 1, 2]
    assert not stream.values[stream.offsets[5]].any() and stream.values[stream.offsets[6]].any()


def test_the_visual_teacher_s_sequence_is_of_its_frames(world: World) -> None:
    outputs = world.transfer.teachers["visual"]
    assert outputs.frames is not None and outputs.frame_offsets is not None
    assert np.diff(outputs.frame_offsets)[:7].tolist() == [1, 2, 3, 3, 3, 1, 2]
    mean = outputs.frames[outputs.frame_offsets[3] : outputs.frame_offsets[4]].astype(np.float32).mean(0)
    assert np.allclose(mean, outputs.pooled[3], atol=5e-3)


def test_a_pretrained_vit_is_trained_from_its_patches_on(world: World, tmp_path: Path) -> None:
    checkpoint = image_checkpoint(tmp_path / "vit", size=PICTURE, image_mean=[0.4, 0.5, 0.6])
    run = world.run.model_dump(mode="json")
    run["teachers"]["visual"] = {
        "encoder": {"type": "pretrained", "checkpoint": str(checkpoint)},
        "training": {"epochs": 1, "learning_rate": 1e-3, "batch_size": 8},
        "frames": 2,
    }
    reads, spec = TeacherReads(CORPUS), RunSpec.model_validate(run)
    fine_tune("visual", spec, world.storage, reads, tmp_path / "out", ListReporter())
    before, after = (load_file(d / "model.safetensors") for d in (checkpoint, tmp_path / "out"))
    still = {k for k in after if torch.equal(before[k], after[k])}
    assert still == set() and any("patch_embeddings" in k for k in after)
    rules = json.loads((tmp_path / "out" / "picture.json").read_text("utf-8"))
    assert (rules["side"], rules["mean"], rules["frames"]) == (PICTURE, [0.4, 0.5, 0.6], 2)


@pytest.mark.parametrize("alone", [("audio", "visual"), ("text", "visual")])
def test_two_of_the_three_can_be_fused(world: World, alone: tuple[TeacherName, ...], tmp_path: Path) -> None:
    run = world.run.model_dump(mode="json")
    (left_out,) = {"audio", "text", "visual"} - set(alone)
    run["teachers"][left_out], run["student"] = None, {"type": "cross_modal_transformer", "modalities": alone}
    spec = RunSpec.model_validate(run)
    teachers = {str(name): world.teachers[name] for name in alone}
    task = make_task("fusion", spec, world.storage, TeacherReads(CORPUS, teachers), "cpu")
    assert task.model.width == 32
    loop = TuningLoop(task)
    before = loop.evaluate()
    loop.train(ListReporter())
    assert loop.progress.best_score > before["weighted_f1"]


@pytest.mark.parametrize("name", ["audio", "text", "fusion"])
def test_several_labels_are_learned_by_sigmoids(several: World, name: TeacherName) -> None:
    """The stored logits are those of the dev scores, and rows sum to what they like."""
    data = several.transfer
    assert data.multi_label and data.targets is not None and set(data.label.tolist()) == {-1}
    assert set(metrics_of(True)) <= set(several.dev[name])
    rows = data.rows("dev", ())
    said = data.teachers[name].logits[rows] > 0
    exact = float((said == data.targets[rows].astype(bool)).all(1).mean())
    assert exact == pytest.approx(several.dev[name]["exact_match"])
    sums = (1 / (1 + np.exp(-data.teachers[name].logits[rows]))).sum(1)
    assert float(np.abs(sums - 1).max()) > 0.05


def test_the_targets_of_the_corpus_are_the_transfer_set_s(several: World) -> None:
    data = several.transfer
    assert data.targets is not None and data.targets.sum(1).tolist() == [1.0, 2.0] * 30
    assert np.array_equal(data.targets.argmax(1)[::2], np.arange(0, 60, 2) % 3)


def test_the_multi_level_teacher_means_its_members_label_by_label(several: World, tmp_path: Path) -> None:
    run = several.run.model_dump(mode="json")
    run["teachers"]["fusion"] = {
        "type": "multi_level", "width": 16, "heads": 2, "dropout": 0.0, "levels": ["frame"],
        "training": {"epochs": 1, "batch_size": 8},
    }  # fmt: skip
    spec, reads = RunSpec.model_validate(run), TeacherReads(CORPUS, several.teachers)
    fine_tune("fusion", spec, several.storage, reads, tmp_path / "out", ListReporter())
    identity = publish_teacher(several.storage, "fusion", spec, reads, tmp_path / "out", metrics={}).fingerprint
    teacher = fetch_teacher(several.storage, identity, tmp_path)
    task = make_task("fusion", spec, several.storage, reads, "cpu")
    output = teacher.model(task.dev.collate(np.arange(4)))
    assert torch.allclose(output.logits.sigmoid(), output.members.sigmoid().mean(1), atol=1e-6)


def without_teachers(corpus: dict[str, Any], student: list[str]) -> RunSpec:
    return RunSpec.model_validate(
        {
            "corpus": corpus,
            "teachers": {"audio": None, "text": None, "fusion": None},
            "student": {"type": "cross_modal_transformer", "modalities": student},
            "method": {"type": "supervised"},
        }
    )


def test_a_corpus_is_harvested_without_a_teacher(world: World, tmp_path: Path) -> None:
    run = without_teachers({"type": "meld", "modalities": ["audio", "visual"]}, ["visual"])
    data = harvested(HarvestPlan(world.storage, run, CORPUS, {}, Needs()), tmp_path)
    assert data.teachers == {} and list(data.streams) == ["audio", "visual"] and data.token_table is None
    assert len(data.rows("train", ("visual",))) == 35 and len(data.rows("dev", ("visual",))) == 12


def test_vectors_are_normalised_by_the_train_rows_that_have_them(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "store"))
    small_corpus(storage, vectors=True)
    run = without_teachers({"type": "features", "modalities": ["audio", "visual"]}, ["audio", "visual"])
    data = harvested(HarvestPlan(storage, run, CORPUS, {}, Needs()), tmp_path)
    audio, visual = data.streams["audio"], data.streams["visual"]
    assert [(s.kind, s.width) for s in (audio, visual)] == [("vectors", 4), ("vectors", 2)]
    assert (~data.present("audio")).nonzero()[0].tolist() == [3] and data.present("visual").all()
    train = data.split == "train"
    used = np.repeat(train & data.present("audio"), np.diff(audio.offsets))
    values = audio.values[used].astype(np.float64)
    assert np.abs(values.mean(0)).max() < 2e-2 and np.abs(values.std(0) - 1).max() < 2e-2
    assert np.diff(audio.offsets)[:5].tolist() == [1, 2, 3, 1, 5]


def test_vectors_that_float16_cannot_hold_are_normalised_all_the_same(tmp_path: Path) -> None:
    run = without_teachers({"type": "features", "modalities": ["audio", "visual"]}, ["audio", "visual"])
    found = []
    for scale in (1.0, 1e6):
        storage = Storage(str(tmp_path / f"{scale}" / "store"))
        small_corpus(storage, vectors=True, scale=scale)
        found.append(harvested(HarvestPlan(storage, run, CORPUS, {}, Needs()), tmp_path / f"{scale}"))
    for small, large in zip(*(data.streams.values() for data in found), strict=True):
        np.testing.assert_allclose(large.values.astype(float), small.values.astype(float), atol=1e-2)
