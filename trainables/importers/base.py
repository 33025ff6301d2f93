"""What every importer offers `trainables.prepare`, and the values that they hand it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from trainables.corpus import Status
from trainables.spec import Spec

Progress = Callable[[int, int], None]
"""Called with (utterances done, utterances in all); never from another thread or process."""

SpecT_contra = TypeVar("SpecT_contra", bound=Spec, contravariant=True)


@dataclass(frozen=True)
class Problem:
    """A row that is not `ok`, or an `ok` one about which something is worth saying."""

    uid: str
    status: Status
    reason: str
    split: str = ""
    """Where the uid does not begin with it."""


@dataclass(frozen=True)
class Prepared:
    """What an importer wrote: rows per split, every row not `ok`, and facts for the record's `info`."""

    rows: dict[str, int]
    """By split; `{"all": N}` where the corpus is cross-validated."""
    problems: tuple[Problem, ...] = ()
    info: dict[str, Any] = field(default_factory=dict)
    """JSON only. It is laid over {labels, expected, stand_in, problems, extra_clips, remarks, ceilings, excluded,
    speaker_disjoint, multi_label, widths}: `excluded` counts the raw rows left out by their own label (they have
    no row here), `speaker_disjoint` names the splits whose speakers speak in no other (checked), and `widths` are
    those of the vectors by modality."""


class Importer(Protocol[SpecT_contra]):
    """One corpus: raw files (or rules) in, Parquet shards of `trainables.corpus.schema()` out."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names; a row's label is one of them. (Where the spec decides, `Prepared.info["labels"]`.)"""

    @property
    def expected(self) -> dict[str, int]:
        """The official number of rows per split (`all` where cross-validated); empty where there is none."""

    @property
    def stand_in(self) -> bool:
        """Whether the corpus is made by rule, so that its scores are no real corpus's."""

    def source_digest(self, spec: SpecT_contra, root: Path | None) -> str:
        """A hash of what the rows depend on beside the spec, equal wherever the files lie.

        Loads no heavy package and takes under a second. Raises CorpusError where `root` is not this corpus.
        """

    def prepare(
        self, spec: SpecT_contra, root: Path | None, out: Path, workers: int, progress: Progress
    ) -> Prepared:
        """Write `out/utterances-NNNNN.parquet`; the bytes do not depend on `workers`.

        Raises CorpusError for what makes the whole corpus unreadable; one bad file is a row's `status`.
        """
