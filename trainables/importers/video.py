"""The pictures of one clip as JPEG squares: bounded in time and memory, never raising for a bad file.

The square is the largest in the middle of the picture, or lies round the face (`importers.faces`) or round what the
corpus gives (`crop.Rectangle`). A clip of which less than half could be decoded counts as a `decode_error`, as with
sound. A picture that stays is stored once more for every moment at which it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainables.corpus import Status
from trainables.importers.crop import MIDDLE, Box, Rectangle, square
from trainables.importers.faces import LOOKING_RATE, find_face
from trainables.importers.frames import Reel
from trainables.importers.media import LEAST_DECODED, SHORTEST_SECONDS, Part, words
from trainables.pictures import encode_image
from trainables.spec.any_corpus import VisualSpec

if TYPE_CHECKING:
    from PIL.Image import Image

NO_FACE = "no face found; the middle of the picture was taken"


@dataclass(frozen=True)
class ClipImages:
    """`images` are JPEG squares or None, the last one repeated where the clip is shorter than it must be."""

    images: list[bytes] | None
    status: Status
    reason: str = ""
    """What there is to say but for `faceless`, which may be so of thousands of clips."""
    faceless: bool = False
    """Whether a face was looked for and not found."""

    @property
    def said(self) -> str:
        """All there is to say of the clip."""
        return "; ".join(said for said in (self.reason, NO_FACE if self.faceless else "") if said)


def read_images(
    path: Path,
    visual: VisualSpec,
    min_seconds: float,
    max_seconds: float,
    *,
    start: float = 0.0,
    end: float | None = None,
    box: Rectangle | None = None,
) -> ClipImages:
    """Decode, crop, resize, encode: image i is what is shown at start + i / rate seconds, up to `max_seconds`.

    `start` and `end` (seconds of the file) make that part of it the clip; `box` is read with `crop: corpus` alone,
    and without one the middle is taken. Any fault becomes status and words.
    """
    try:
        if path.stat().st_size == 0:
            return ClipImages(None, "decode_error", "the file is empty")
        return _read(path, visual, min_seconds, max_seconds, part=Part(start, end), box=box)
    except Exception as error:  # libav and the scaler raise of many kinds, all about this file
        return ClipImages(None, "decode_error", words(error))


def squares(reel: Reel, side: int, place: Box | Rectangle = MIDDLE) -> Iterator[tuple[Image, int]]:
    """(RGB square, how often in a row it is shown), one in memory at a time."""
    for frame in reel.frames():
        yield square(frame, side, place), frame.times


def _read(
    path: Path, visual: VisualSpec, min_seconds: float, max_seconds: float, *, part: Part, box: Rectangle | None
) -> ClipImages:
    place: Box | Rectangle | None = box if visual.crop == "corpus" else None
    if visual.crop == "face":
        place = find_face(Reel(path, min(visual.rate, LOOKING_RATE), max_seconds, part))
    reel = Reel(path, visual.rate, max_seconds, part)
    images: list[bytes] = []
    for picture, times in squares(reel, visual.size, place or MIDDLE):
        images += [encode_image(picture)] * times
    fault = _fault(reel)
    if fault:
        return fault
    if not images:
        return ClipImages(None, "no_video", f"no picture is shown from {part.start:g} s on")
    status, remarks = _remarks(reel, max_seconds)
    least = max(1, round(min_seconds * visual.rate))
    faceless = visual.crop == "face" and place is None
    return ClipImages(images + images[-1:] * (least - len(images)), status, "; ".join(remarks), faceless)


def _fault(reel: Reel) -> ClipImages | None:
    """Why nothing of the clip can be used, if so."""
    raw, stated = reel.raw_seconds, reel.stated_seconds
    if not reel.pictures:
        return ClipImages(None, "no_video", "the file has no pictures")
    if not reel.decoded and reel.bad_packets:
        return ClipImages(None, "decode_error", "no picture could be decoded")
    if not reel.decoded:
        return ClipImages(None, "no_video", "the stream of pictures is empty")
    if raw < LEAST_DECODED * stated and stated - raw > SHORTEST_SECONDS:
        return ClipImages(None, "decode_error", f"only {raw:.2f} s of {stated:.2f} s of pictures could be decoded")
    return None


def _remarks(reel: Reel, max_seconds: float) -> tuple[Status, list[str]]:
    raw, remarks = reel.raw_seconds, []
    status: Status = "ok"
    if raw < SHORTEST_SECONDS:
        status = "too_short"
        remarks.append(f"{raw:.3f} s of pictures; the last one was held")
    elif raw > max_seconds + SHORTEST_SECONDS:  # sound and pictures of one clip need not end together
        status = "too_long"
        remarks.append(f"{raw:.1f} s of pictures; cropped to their first {max_seconds:g} s")
    if reel.bad_packets:
        remarks.append(f"{reel.bad_packets} packets of pictures could not be decoded and were skipped")
    return status, remarks
