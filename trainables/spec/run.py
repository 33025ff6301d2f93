"""One training run as data: everything that bears on its result, nothing that does not."""

from __future__ import annotations

from pydantic import model_validator

from trainables.spec.base import Spec
from trainables.spec.corpus import CorpusSpec, MeldSpec
from trainables.spec.features import FeaturesSpec
from trainables.spec.method import CMD, MethodSpec
from trainables.spec.student import AudioTextTransformer, StudentSpec
from trainables.spec.teachers import TeachersSpec
from trainables.spec.training import TrainingSpec


class RunSpec(Spec):
    corpus: CorpusSpec = MeldSpec()
    teachers: TeachersSpec = TeachersSpec()
    features: FeaturesSpec = FeaturesSpec()
    student: StudentSpec = AudioTextTransformer()
    method: MethodSpec = CMD()
    training: TrainingSpec = TrainingSpec()
    fold: int | None = None
    """Of a cross-validated corpus, the fold in which this run is tested; None: all of them, one run a fold."""
    metric: str = "weighted_f1"
    """The dev score by which an epoch is chosen; higher is better."""
    seed: int = 0

    @model_validator(mode="after")
    def _fits(self) -> RunSpec:
        if self.fold is not None and self.fold not in range(self.corpus.fold_count):
            raise ValueError(
                f"fold {self.fold}: corpus {self.corpus.type} has {self.corpus.fold_count} folds; leave it out to "
                "run them all"
            )
        absent = set(self.student.modalities) - set(self.corpus.modalities)
        if absent:
            raise ValueError(
                f"student.modalities {list(self.student.modalities)}: the corpus is read with "
                f"{list(self.corpus.modalities)} only; add {sorted(absent)} to corpus.modalities or drop it here"
            )
        for name in self.teachers.names:
            if name != "fusion" and name not in self.corpus.modalities:
                raise ValueError(
                    f"teachers.{name}: the corpus is read without {name}; add it to corpus.modalities "
                    f"or set teachers.{name}: null"
                )
        if self.corpus.vectors:
            self._of_vectors()
        elif self.student.reads_features and "text" in self.student.modalities and self.teachers.text is None:
            raise ValueError("a student that reads text uses the text teacher's word pieces: set teachers.text")
        return self

    def _of_vectors(self) -> None:
        if self.teachers.names:
            raise ValueError(
                f"corpus {self.corpus.type} has vectors alone, which no teacher can read; set "
                f"{', '.join(f'teachers.{name}: null' for name in self.teachers.names)}"
            )
        if not self.student.reads_vectors:
            raise ValueError(
                f"corpus {self.corpus.type} has vectors alone, which student {self.student.type} does not read; "
                "take student.type: cross_modal_transformer"
            )

    @property
    def folds(self) -> tuple[int | None, ...]:
        """The folds that it stands for: its own, else all of its corpus's; (None,) with one official split."""
        if self.fold is not None or not self.corpus.fold_count:
            return (self.fold,)
        return tuple(range(self.corpus.fold_count))
