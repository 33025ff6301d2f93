"""What a whole run needs of its corpus and teachers, answered without a GPU, torch or the artifacts."""

from __future__ import annotations

from collections.abc import Iterator

from trainables.spec.base import OVER_TIME, TeacherName
from trainables.spec.needs import Needs
from trainables.spec.run import RunSpec


def needs_of(run: RunSpec) -> Needs:
    """The needs of a run's student, method and targets at their settings."""
    targets = Needs(votes=run.training.targets == "votes")
    return run.student.needs | run.method.needs(run.student.modalities) | targets


def teachers_needed(run: RunSpec) -> tuple[TeacherName, ...]:
    """The teachers whose outputs the run reads, in the order audio, text, visual, fusion."""
    needs = needs_of(run)
    own = set(run.student.modalities) if needs.pooled or needs.attention or needs.frames else set()
    best = {run.teachers.best} if needs.logits or needs.best_pooled else set()
    return tuple(name for name in run.teachers.names if name in own | best)


def unmet(run: RunSpec) -> str:
    """The first need that the run's corpus, teachers or student cannot meet, with the way out; empty: none."""
    return next(_faults(run), "")


def _faults(run: RunSpec) -> Iterator[str]:
    needs, corpus = needs_of(run), run.corpus
    asks = f"student {run.student.type} with method {run.method.type}"
    if needs.votes and not corpus.rated:
        yield (
            f"{asks} reads what each rater said, and corpus {corpus.type} keeps no votes; set "
            "training.targets: hard and another method.curriculum.type, or take a corpus that has them"
        )
    if corpus.multi_label:
        yield from _faults_of_labels(run, asks)
    if (needs.logits or needs.best_pooled) and not run.teachers.names:
        yield f"{asks} needs a teacher, and there is none; set teachers, or take method.type: supervised"
    if needs.segments and not corpus.aligned:
        yield (
            f"{asks} reads {', '.join(needs.segments)} segments, and corpus {corpus.type} comes without "
            "alignments; set corpus.alignment.type to textgrid, ctc or proportional, or student.levels: [frame]"
        )
    if needs.segments and "audio" not in corpus.modalities:
        yield f"{asks} reads segments of speech, and the corpus is read without audio; add it to corpus.modalities"
    if run.teachers.fusion is not None and run.teachers.fusion.segments and not corpus.aligned:
        yield (
            f"teachers.fusion.type: {run.teachers.fusion.type} reads {', '.join(run.teachers.fusion.segments)} "
            f"segments, and corpus {corpus.type} comes without alignments; set corpus.alignment.type to textgrid, "
            "ctc or proportional, teachers.fusion.levels: [frame], or teachers.fusion.type: co_attention"
        )
    if needs.attention and not run.student.attends:
        yield (
            f"{asks} compares maps of self-attention, and this student makes none; leave attention out (a weight "
            "of 0, a term that is not enabled), or take student.type: audio_text_transformer"
        )
    if needs.attention and not set(run.student.modalities) & set(OVER_TIME):
        yield (
            f"{asks} compares maps of attention over time, and a visual teacher attends over the patches of each "
            "picture; leave attention out (a weight of 0, a term that is not enabled)"
        )
    for modality in run.student.modalities:
        parts = ("pooled", "attention", "frames") if modality in OVER_TIME else ("pooled", "frames")
        own = [name for name in parts if getattr(needs, name)]
        if own and getattr(run.teachers, modality) is None:
            yield (
                f"{asks} needs the {modality} teacher's {' and '.join(own)} output; set teachers.{modality}, "
                "or leave out what reads it (a weight of 0, a term that is not enabled)"
            )
    if needs.both and not {"audio", "text"} <= set(run.student.modalities):
        yield f"{asks} pairs audio with text, and the student reads {', '.join(run.student.modalities)}; read both"


def _faults_of_labels(run: RunSpec, asks: str) -> Iterator[str]:
    """What cannot be done where an utterance may have several labels."""
    corpus = run.corpus.type
    if run.student.needs.one_label:
        yield (
            f"student {run.student.type} fuses its members for one label an utterance, and corpus {corpus} has "
            "several; take student.type audio_text_transformer or cross_modal_transformer"
        )
    if needs_of(run).one_label:
        yield (
            f"{asks} reads the one label of each utterance, and corpus {corpus} has several; take method.type "
            "supervised, cmd, distil (with kd, hint, attention, rkd, crd or info_nce) or co_learning, without a "
            "curriculum or positives: same_label"
        )
    if run.training.class_weights != "none":
        yield f"training.class_weights: corpus {corpus} has several labels; training.label_weights weighs them"
    for name in run.teachers.names:
        weights = getattr(run.teachers, name).training.class_weights
        if weights != "none":
            yield (
                f"teachers.{name}.training.class_weights: {weights}: corpus {corpus} has several labels, which a "
                "teacher weighs by how rare they are; leave it out"
            )
