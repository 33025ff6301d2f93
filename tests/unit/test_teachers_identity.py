"""Which teacher is which: content counts, place does not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.teachers import bert_checkpoint, small_run, text_run, three_run
from trainables.errors import CheckpointError
from trainables.pretrained import checkpoint_identity
from trainables.spec.needs import Needs
from trainables.teachers.identity import (
    TeacherReads,
    teacher_fingerprint,
    teacher_fingerprints,
    transfer_fingerprint,
)


def test_a_moved_checkpoint_is_the_same_and_a_changed_one_is_not(tmp_path: Path) -> None:
    here = bert_checkpoint(tmp_path / "here")
    there = Path(shutil.copytree(here, tmp_path / "there"))
    first = teacher_fingerprint("text", text_run(here), "corpus", {})
    assert teacher_fingerprint("text", text_run(there), "corpus", {}) == first
    with (there / "model.safetensors").open("ab") as handle:
        handle.write(b"\0")
    assert teacher_fingerprint("text", text_run(there), "corpus", {}) != first


def test_a_hub_name_is_known_by_name_and_revision() -> None:
    assert checkpoint_identity("bert-base-uncased", None) != checkpoint_identity("bert-base-uncased", "abc")


@pytest.mark.parametrize(
    ("change", "differs"), [({}, False), ({"seed": 1}, True), ({"batch_size": 4}, True), ({"epochs": 3}, True)]
)
def test_what_bears_on_a_teacher_is_in_its_fingerprint(change: dict[str, int], differs: bool) -> None:
    base = teacher_fingerprint("text", small_run(), "corpus", {})
    assert (teacher_fingerprint("text", small_run(**change), "corpus", {}) != base) is differs


def test_the_student_does_not_bear_on_a_teacher() -> None:
    run = small_run()
    other = run.model_copy(update={"seed": 5, "features": run.features.model_copy(update={"mel_bands": 40})})
    assert teacher_fingerprints(run, "corpus") == teacher_fingerprints(other, "corpus")


def test_another_corpus_or_input_teacher_is_another_teacher() -> None:
    run, inputs = small_run(), {"audio": "a", "text": "t"}
    base = teacher_fingerprint("fusion", run, "corpus", inputs)
    assert teacher_fingerprint("fusion", run, "other", inputs) != base
    assert teacher_fingerprint("fusion", run, "corpus", {**inputs, "text": "u"}) != base


def test_a_transfer_set_differs_by_what_it_holds() -> None:
    run, teachers = small_run(), {"text": "t"}
    plain = transfer_fingerprint(run, teachers, Needs(logits=True), "c")
    assert transfer_fingerprint(run, teachers, Needs(logits=True, pooled=True), "c") == plain
    assert transfer_fingerprint(run, teachers, Needs(attention=True), "c") != plain


def test_a_transfer_set_without_a_teacher_is_its_corpus_s() -> None:
    run = small_run()
    plain = transfer_fingerprint(run, {}, Needs(), "c")
    assert transfer_fingerprint(run, {}, Needs(), "d") != plain
    features = run.features.model_copy(update={"image_size": 32})
    assert transfer_fingerprint(run.model_copy(update={"features": features}), {}, Needs(), "c") != plain


def test_the_fusion_teacher_reads_every_teacher_of_one_modality() -> None:
    run = three_run()
    found = teacher_fingerprints(run, "corpus")
    assert list(found) == ["audio", "text", "visual", "fusion"]
    reads = TeacherReads("corpus", {str(k): v for k, v in found.items()})
    assert list(reads.of("fusion")) == ["corpus", "audio", "text", "visual"] and list(reads.of("visual")) == [
        "corpus"
    ]
    others = {str(name): found[name] for name in ("audio", "text", "visual")}
    changed = teacher_fingerprint("fusion", run, "corpus", {**others, "visual": "v"})
    assert changed != teacher_fingerprint("fusion", run, "corpus", others) == found["fusion"]
    assert teacher_fingerprints(three_run(frames=4), "corpus")["fusion"] != found["fusion"]


def test_a_checkpoint_of_pickles_is_refused_with_the_way_to_convert_it(tmp_path: Path) -> None:
    folder = bert_checkpoint(tmp_path / "here")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"no \*\.safetensors.*save_pretrained"):
        checkpoint_identity(str(folder), None)


def test_a_path_that_is_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        checkpoint_identity(str(tmp_path / "nowhere"), None)


def test_identity_loads_no_torch() -> None:
    code = (
        "import sys, trainables.teachers.identity, trainables.teachers.plan;"
        "sys.exit(int(any(m in sys.modules for m in ('torch', 'transformers', 'pyarrow'))))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
