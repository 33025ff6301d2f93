"""Sound and pictures of one utterance in one job of the pool, and what its row says of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trainables.corpus import Status
from trainables.importers.crop import Rectangle
from trainables.importers.lfs import STUB, is_stub
from trainables.importers.media import ClipAudio, read_clip
from trainables.importers.pool import in_order
from trainables.importers.video import ClipImages, read_images
from trainables.spec.any_corpus import AnyCorpus

NO_AUDIO = ClipAudio(None, 0.0, 0.0, "ok")
"""Of a row whose sound is not read."""
NO_IMAGES = ClipImages(None, "ok")
_CRASHED = "the decoder's process died on this clip"


@dataclass(frozen=True)
class Job:
    """The files of one utterance, and which part of them it is, in seconds."""

    clip: Path | None
    """Where the sound is; None where there is no such file."""
    video: Path | None
    start: float = 0.0
    end: float | None = None
    absent: str = "its row names no file"
    """What is said where there is no file."""
    box: Rectangle | None = None


@dataclass(frozen=True)
class Clip:
    """What a job gave: `NO_AUDIO` and `NO_IMAGES` are of what was not read."""

    audio: ClipAudio = NO_AUDIO
    images: ClipImages = NO_IMAGES

    @property
    def status(self) -> Status:
        """The sound's where it is read, else the pictures'."""
        sound, pictures = self.statuses
        return sound or pictures or "ok"

    @property
    def statuses(self) -> tuple[Status | None, Status | None]:
        """The sound's and the pictures', None of what was not read."""
        return (
            None if self.audio == NO_AUDIO else self.audio.status,
            None if self.images == NO_IMAGES else self.images.status,
        )

    @property
    def reason(self) -> str:
        """Both's, as the row keeps it; what is to be said of both is said once."""
        return self._both(self.images.said)

    @property
    def remark(self) -> str:
        """The reason without what `Tally` says once of all clips."""
        return self._both(self.images.reason)

    def _both(self, pictures: str) -> str:
        sound = self.audio.reason
        if self.audio == NO_AUDIO or not pictures or sound == pictures:
            return sound or pictures
        return together(sound, f"pictures: {pictures}")


def together(*reasons: str) -> str:
    """Those that are not empty, as one."""
    return "; ".join(reason for reason in reasons if reason)


def read_all(jobs: Iterable[Job], spec: AnyCorpus, workers: int) -> Iterator[Clip]:
    """In the order of the jobs; at most `pool.AHEAD` clips per worker are held."""
    if spec.vectors or not {"audio", "visual"} & set(spec.modalities):
        return (Clip() for _ in jobs)
    return in_order(partial(read, spec), jobs, workers, partial(crashed, spec))


def read(spec: AnyCorpus, job: Job) -> Clip:
    """The modalities that the spec names, of the job's part."""
    audio, images = NO_AUDIO, NO_IMAGES
    if "audio" in spec.modalities:
        audio = _audio(spec, job)
    if "visual" in spec.modalities:
        images = _images(spec, job)
    return Clip(audio, images)


def crashed(spec: AnyCorpus, job: Job) -> Clip:
    """Of a clip on which the decoder's process ended."""
    audio = ClipAudio(None, 0.0, 0.0, "decode_error", _CRASHED)
    images = ClipImages(None, "decode_error", _CRASHED)
    return Clip(
        audio if "audio" in spec.modalities else NO_AUDIO,
        images if "visual" in spec.modalities else NO_IMAGES,
    )


def _audio(spec: AnyCorpus, job: Job) -> ClipAudio:
    path = _file(job.clip, job.absent)
    if not isinstance(path, Path):
        return ClipAudio(None, 0.0, 0.0, *path)
    return read_clip(path, spec.min_seconds, spec.max_seconds, job.start, job.end)


def _images(spec: AnyCorpus, job: Job) -> ClipImages:
    path = _file(job.video, job.absent)
    if not isinstance(path, Path):
        return ClipImages(None, *path)
    return read_images(
        path, spec.visual, spec.min_seconds, spec.max_seconds, start=job.start, end=job.end, box=job.box
    )


def _file(path: Path | None, absent: str) -> Path | tuple[Status, str]:
    """The file to be decoded, or the status and the reason of a row without."""
    if path is None:
        return "missing_media", absent
    if not path.is_file():
        return "missing_media", f"there is no file {path.name}"
    return ("lfs_stub", STUB) if is_stub(path) else path
