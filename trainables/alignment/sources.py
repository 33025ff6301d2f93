"""The sources of alignments that a spec can ask for, each of which takes one clip at a time."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from trainables.alignment import textgrid_files
from trainables.alignment.base import Alignment
from trainables.alignment.spelling import shared_out
from trainables.alignment.syllables import syllables
from trainables.errors import CorpusError
from trainables.pretrained import checkpoint_identity
from trainables.spec.any_corpus import AlignmentSpec, CtcAlignment, ProportionalAlignment, TextGridAlignment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Clip:
    """`audio` is FLAC, 16 kHz, mono."""

    uid: str
    text: str
    audio: bytes

    @cached_property
    def wave(self) -> tuple[NDArray[np.float32], int]:
        """float32 [time] in -1 to 1, and its rate in hertz."""
        import soundfile

        samples, rate = soundfile.read(io.BytesIO(self.audio), dtype="float32")
        return samples, rate


class Source(Protocol):
    def align(self, clip: Clip) -> tuple[Alignment | None, str]:
        """The alignment, with syllables, or None; and a remark where there is something to say of the row."""


def make_source(spec: AlignmentSpec, folder: Path | None, uids: Sequence[str], language: str) -> Source | None:
    """None where the corpus's own alignment is wanted. `uids` are all of the corpus's rows.

    Raises CorpusError about the folder of TextGrids, CheckpointError about the model.
    """
    if isinstance(spec, TextGridAlignment):
        return TextGridSource(spec, _given(folder), uids, language)
    if isinstance(spec, CtcAlignment):
        return CtcSource(spec, language)
    return ProportionalSource(language) if isinstance(spec, ProportionalAlignment) else None


def identity(spec: AlignmentSpec, folder: Path | None) -> dict[str, Any]:
    """What the alignments depend on: the spec, with the files' content in the place of where they lie.

    Loads no heavy package.
    """
    if isinstance(spec, CtcAlignment):
        return {"type": spec.type, "checkpoint": checkpoint_identity(spec.checkpoint, spec.revision)}
    files = {"files": textgrid_files.digest(_given(folder))} if isinstance(spec, TextGridAlignment) else {}
    return spec.model_dump(mode="json") | files


class TextGridSource:
    def __init__(self, spec: TextGridAlignment, folder: Path, uids: Sequence[str], language: str) -> None:
        self._spec, self._folder, self._language = spec, folder, language
        paths = textgrid_files.find_textgrids(folder)
        self._paths = textgrid_files.assign(paths, uids)
        if not self._paths:
            raise CorpusError(
                f"{folder}: none of its {len(paths)} TextGrids is named as a row or its clip: {paths[0].name} is "
                f"there, {uids[0]}.TextGrid was looked for"
            )

    def align(self, clip: Clip) -> tuple[Alignment | None, str]:
        from trainables.alignment.textgrid import TextGridError, read_textgrid

        path = self._paths.get(clip.uid)
        if path is None:
            return None, ""
        try:
            found = read_textgrid(self._folder / path, self._spec.words, self._spec.phones)
        except TextGridError as error:
            return None, str(error)
        if found.phones:
            whole = syllables(found.phones, found.words)
            return Alignment(found.words, found.phones, whole, "textgrid"), ""
        shares = shared_out(found.words, "textgrid", self._language)
        remark = f"{path.name}: no phone in a tier {self._spec.phones!r}; syllables go by spelling"
        return Alignment(found.words, (), shares.syllables, "textgrid"), remark


class CtcSource:
    def __init__(self, spec: CtcAlignment, language: str) -> None:
        from trainables.alignment.ctc import CtcAligner

        self._aligner, self._language = CtcAligner(spec.checkpoint, spec.revision), language

    def align(self, clip: Clip) -> tuple[Alignment | None, str]:
        samples, _ = clip.wave
        return self._aligner.align(samples, clip.text, self._language), ""


class ProportionalSource:
    def __init__(self, language: str) -> None:
        self._language = language

    def align(self, clip: Clip) -> tuple[Alignment | None, str]:
        from trainables.alignment.proportional import proportional

        samples, rate = clip.wave
        return proportional(samples, rate, clip.text, self._language), ""


def _given(folder: Path | None) -> Path:
    if folder is None:
        raise CorpusError(
            "alignment by textgrid needs the folder of the TextGrids: set ORCH_ALIGNMENTS__<CORPUS>, or "
            "alignments.<corpus> in orch.toml"
        )
    return folder
