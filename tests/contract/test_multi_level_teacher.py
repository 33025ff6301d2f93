"""The multi-level fusion teacher from a corpus to a transfer set: tuned, resumed, stored, harvested."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.teachers import CORPUS, small_corpus, small_run
from trainables.reporter import ListReporter
from trainables.run import train
from trainables.spec import EmoDBSpec, MeldSpec, MultiLevelTeacher, RunSpec, StandInSpec
from trainables.spec.demands import needs_of, unmet
from trainables.storage import Storage
from trainables.teachers.finish import finish
from trainables.teachers.harvest import Harvester
from trainables.teachers.heads import FusionInputs
from trainables.teachers.identity import TeacherReads, publish_teacher, teacher_fingerprints
from trainables.teachers.multi_level import MultiLevelModel
from trainables.teachers.plan import HarvestPlan
from trainables.teachers.store import fetch_teacher
from trainables.teachers.task import make_task
from trainables.teachers.tuning import TuningLoop, fine_tune
from trainables.transfer_set import TransferSet, materialise

LEVELS = ("frame", "phone", "syllable", "word")


@dataclass(frozen=True)
class World:
    storage: Storage
    run: RunSpec
    teachers: dict[str, str]
    dev: dict[str, float]
    transfer: TransferSet


def run_of(**fusion: Any) -> RunSpec:
    run = small_run(epochs=4).model_dump(mode="json")
    shape = {"type": "multi_level", "width": 16, "heads": 2, "dropout": 0.0}
    run["teachers"]["fusion"] = {**shape, "training": run["teachers"]["fusion"]["training"], **fusion}
    run["corpus"] = {"type": "standin"}
    run["student"] = {"type": "multi_level_fusion", "width": 16, "heads": 2}
    run["method"] = {"type": "cmd", "phases": "joint"}
    run["training"] = {"epochs": 3, "batch_size": 8, "learning_rate": 3e-3, "patience": 0}
    return RunSpec.model_validate(run)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Three teachers of an aligned corpus, and the transfer set that a multi-level student by CMD needs."""
    folder = tmp_path_factory.mktemp("multi-level")
    storage, run = Storage(str(folder / "store")), run_of()
    small_corpus(storage, aligned=True)
    teachers = {str(k): v for k, v in teacher_fingerprints(run, CORPUS).items()}
    metrics: dict[str, Any] = {}
    for name in run.teachers.names:
        reads, out = TeacherReads(CORPUS, teachers), folder / name
        metrics = fine_tune(name, run, storage, reads, out, ListReporter())
        publish_teacher(storage, name, run, reads, out, metrics=metrics)
    plan = HarvestPlan(storage, run, CORPUS, teachers, needs_of(run))
    harvester = Harvester(plan)
    for index in plan.pending():
        harvester.shard(index)
    finish(plan)
    transfer = TransferSet.open(materialise(storage, plan.fingerprint, folder / "cache"))
    return World(storage, run, teachers, metrics["dev"], transfer)


def test_the_stored_teacher_harvests_its_own_dev_score(world: World, tmp_path: Path) -> None:
    teacher = fetch_teacher(world.storage, world.teachers["fusion"], tmp_path)
    assert isinstance(teacher.model, MultiLevelModel)
    assert teacher.model.network.members == (*LEVELS, "audio", "text")
    rows, outputs = world.transfer.rows("dev", ()), world.transfer.teachers["fusion"]
    assert outputs.pooled.shape == (60, 32)
    accuracy = float((outputs.logits[rows].argmax(1) == world.transfer.label[rows]).mean())
    assert accuracy == pytest.approx(world.dev["accuracy"]) and accuracy > 0.5
    assert np.allclose(np.exp(outputs.logits).sum(1), 1, atol=1e-4)  # a mean of probabilities


def test_the_task_reads_every_frame_and_the_corpus_s_segments(world: World) -> None:
    task = make_task("fusion", world.run, world.storage, TeacherReads(CORPUS, world.teachers), "cpu")
    inputs = task.train.collate(np.array([1, 9]))  # u1, and u10, which is not aligned: u4 has no audio
    assert isinstance(inputs, FusionInputs)
    assert inputs.streams["audio"][1].sum(1).tolist() == task.train.lengths[[1, 9]].tolist() == [10, 8]
    counts = {g: mask.sum(1).tolist() for g, (_, mask) in inputs.segments.items()}
    assert counts == {"phone": [16, 0], "syllable": [8, 0], "word": [4, 0]}
    assert inputs.segments["word"][0][0].tolist() == [[0, 3], [2, 5], [5, 8], [7, 10]]  # of 0.04 seconds


def test_a_level_less_reads_a_column_less(world: World) -> None:
    run = run_of(levels=["frame", "word"])
    task = make_task("fusion", run, world.storage, TeacherReads(CORPUS, world.teachers), "cpu")
    inputs = task.train.collate(np.array([0]))
    assert isinstance(inputs, FusionInputs) and list(inputs.segments) == ["word"]
    assert isinstance(task.model, MultiLevelModel) and task.model.network.members[:2] == ("frame", "word")
    assert teacher_fingerprints(run, CORPUS)["fusion"] != world.teachers["fusion"]


def test_the_members_are_taught_each(world: World) -> None:
    """The sum over the rows of the mean's cross-entropy and of the mean of the members' own."""
    task = make_task("fusion", world.run, world.storage, TeacherReads(CORPUS, world.teachers), "cpu")
    loop, rows = TuningLoop(task), np.arange(5)
    output = loop.model.eval()(task.train.collate(rows))
    assert output.members is not None and output.members.shape == (5, 6, 3)
    p = output.members.softmax(2)[torch.arange(5), :, torch.from_numpy(task.train_labels[:5])]
    expected = -p.mean(1).log().sum() - p.log().mean(1).sum()
    torch.testing.assert_close(loop._loss(output, rows), expected)


def test_tuning_again_gives_the_same_bytes(world: World, tmp_path: Path) -> None:
    reads = TeacherReads(CORPUS, world.teachers)
    fine_tune("fusion", world.run, world.storage, reads, tmp_path / "out", ListReporter())
    (tmp_path / "fetched").mkdir()
    fetch_teacher(world.storage, world.teachers["fusion"], tmp_path / "fetched")
    stored = load_file(tmp_path / "fetched" / world.teachers["fusion"] / "head.safetensors")
    again = load_file(tmp_path / "out" / "head.safetensors")
    assert stored.keys() == again.keys() and all(torch.equal(v, again[k]) for k, v in stored.items())


def test_a_student_of_the_same_network_is_distilled_from_it(world: World) -> None:
    result = train(world.run, world.transfer, ListReporter(), threads=1)
    assert {"loss/kd", "loss/contrast_self", "loss/members"} <= set(result.curves[0])
    assert result.score > 1 / 3


@pytest.mark.parametrize(("levels", "met"), [(["frame", "word"], False), (["frame"], True)])
def test_a_corpus_without_alignments_is_refused_but_for_frames(levels: list[str], met: bool) -> None:
    fusion = MultiLevelTeacher.model_validate({"levels": levels})
    teachers = RunSpec().teachers.model_copy(update={"fusion": fusion})
    fault = unmet(RunSpec(corpus=MeldSpec(), teachers=teachers))
    assert ("teachers.fusion.type: multi_level reads word segments, and corpus meld" in fault) is not met
    assert (fault == "") is met
    assert unmet(RunSpec(corpus=StandInSpec(), teachers=teachers)) == ""


def test_emodb_has_a_student_of_its_own_granularities() -> None:
    """Ten fixed sentences: speech alone, at every granularity that the corpus's own labels give."""
    run = RunSpec.model_validate(
        {
            "corpus": EmoDBSpec().model_dump(mode="json"),
            "teachers": {"text": None, "fusion": None},
            "student": {"type": "multi_level_fusion", "modalities": ["audio"]},
            "method": {"type": "supervised"},
        }
    )
    assert unmet(run) == "" and needs_of(run).segments == ("phone", "syllable", "word")
