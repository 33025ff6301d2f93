"""A clip's pictures at a steady rate: what is shown at start + i / rate seconds, whatever the stream's own rate.

Time is counted from where the clip's sound begins (`media.origin`), so that pictures and stored sound fit. A
picture is shown from its timestamp to the next one's, the first one also before. One decoded frame is held at a
time.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.importers.media import LEAD_SECONDS, Part, open_container, origin

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TOLERANCE = 1e-3
"""Seconds by which a timestamp may be late: containers round them to milliseconds."""
_LEADS = (LEAD_SECONDS, 10.0)
"""How long before a part decoding begins: some containers are sought in with little precision."""
_RATES = (1.0, 240.0)
_USUAL_RATE = 25.0
_ASPECTS = (0.1, 10.0)
MOST_PIXELS = 2**26
"""Of a picture, twice those of 8K film: a few kilobytes may unpack to gigabytes."""
_ATTACHED = 0x400
"""libav's AV_DISPOSITION_ATTACHED_PIC: the cover of a record, not a stream of pictures."""


@dataclass(frozen=True)
class Frame:
    """One picture as it is to be looked at (turned, its colours RGB), and how often in a row it is shown.

    `aspect` is the width of its pixels over their height.
    """

    rgb: NDArray[np.uint8]
    aspect: float
    times: int

    @property
    def size(self) -> tuple[float, float]:
        """(width, height) in units of a pixel's height."""
        rows, columns, _ = self.rgb.shape
        return columns * self.aspect, float(rows)


@dataclass(frozen=True)
class _Timed:
    """A frame as decoded, and from when to when at least it is shown, in seconds of the clip."""

    start: float
    end: float
    frame: Any


class Clock:
    """Counts the moments start + i / rate, i < count, that pass from one picture to the next."""

    def __init__(self, start: float, rate: float, count: int) -> None:
        self.passed = 0
        self._start, self._rate, self._count = start, rate, count

    @property
    def done(self) -> bool:
        return self.passed >= self._count

    def until(self, time: float) -> int:
        """How many further moments lie before `time`."""
        before = math.ceil((time - self._start - TOLERANCE) * self._rate)
        further = max(0, min(before, self._count) - self.passed)
        self.passed += further
        return further


class Reel:
    """The frames of one part of a file; what was found on the way is known when they have been read."""

    def __init__(self, path: Path, rate: float, max_seconds: float, part: Part) -> None:
        self._path, self._rate, self._part = path, rate, part
        self._limit = max_seconds if part.end is None else min(max_seconds, part.end - part.start)
        self.pictures = False
        """Whether there is a stream of pictures at all."""
        self.bad_packets = 0
        self.decoded = 0
        self.raw_seconds = 0.0
        """Of the part that was asked for: stated where decoding stopped early."""
        self.stated_seconds = 0.0
        """Of the part, as the stream itself says; 0 where it does not."""
        self._told_seconds = 0.0
        """The same, by the container where the stream says nothing, as in Matroska: it may count sound, too."""

    def frames(self) -> Iterator[Frame]:
        """Raises what libav raises for a file that it cannot open."""
        leads = [*_LEADS, None] if self._part.start else [None]
        for lead in leads:
            with open_container(self._path) as container:
                source = _stream(container)
                if source is None:
                    return
                timed = self._begin(container, source, lead)
                first = next(timed, None)
                if lead is None or (first and first.start <= self._part.start + TOLERANCE):
                    yield from self._steady(chain([first] if first else [], timed), _aspect(source))
                    return

    def _begin(self, container: Any, source: Any, lead: float | None) -> Iterator[_Timed]:
        """From `lead` seconds before the part, as near as can be sought; None: from the file's beginning."""
        import av

        self.pictures, self.bad_packets, self.decoded = True, 0, 0
        source.codec_context.thread_count = 1  # many clips are decoded at once
        zero = origin(container)
        if source.duration is not None:
            ends = float(((source.start_time or 0) + source.duration) * source.time_base)
            self.stated_seconds = self._told_seconds = self._part.within(ends - zero)
        elif container.duration is not None:
            ends = ((container.start_time or 0) + container.duration) / 1_000_000
            self._told_seconds = self._part.within(ends - zero)
        if lead is not None:
            with suppress(av.error.FFmpegError):  # a bare stream cannot be sought: it is at its beginning still
                container.seek(int((zero + max(0.0, self._part.start - lead)) / source.time_base), stream=source)
        return self._timed(container, source, zero)

    def _steady(self, timed: Iterator[_Timed], aspect: float) -> Iterator[Frame]:
        clock = Clock(self._part.start, self._rate, math.ceil(self._limit * self._rate - TOLERANCE))
        upright = _Upright(aspect)
        held: _Timed | None = None
        for now in timed:
            shown = clock.until(now.start) if held else 0
            if held and shown:
                yield upright(held.frame, shown)
            if clock.done or (held is None and now.start - self._part.start >= self._limit):
                self.raw_seconds = max(self._part.within(now.start), self._told_seconds)
                return
            held = now
        shown = clock.until(held.end) if held else 0
        if held and shown:
            yield upright(held.frame, shown)
        self.raw_seconds = self._part.within(held.end) if held else 0.0

    def _timed(self, container: Any, source: Any, zero: float) -> Iterator[_Timed]:
        """The frames by a clock that begins at `zero` of the container's, and never stands still or goes back."""
        step = 1 / _rate(source)
        last: float | None = None
        for frame in self._decoded(container, source):
            stamp = frame.pts if frame.pts is not None else frame.dts
            time = None if stamp is None else float(stamp * frame.time_base) - zero
            if last is not None and (time is None or time <= last):
                time = last + step
            last = time if time is not None else 0.0
            own = float(frame.duration * frame.time_base) if frame.duration and stamp is not None else step
            yield _Timed(last, last + own, frame)

    def _decoded(self, container: Any, source: Any) -> Iterator[Any]:
        """What can be decoded; a packet that cannot is counted, and so is the end of a file that breaks off."""
        import av

        packets = container.demux(source)
        while True:
            try:
                frames = next(packets).decode()
            except StopIteration:
                return
            except av.error.FFmpegError:  # the demuxer's own fault ends its generator as well
                self.bad_packets += 1
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self.bad_packets += 1
                    continue
                self.decoded += 1
                yield frame


def _stream(container: Any) -> Any:
    """The stream of pictures that a player would show."""
    streams = [stream for stream in container.streams.video if not stream.disposition & _ATTACHED]
    best = container.streams.best("video")
    return best if best in streams else next(iter(streams), None)


def _rate(source: Any) -> float:
    """Frames a second as the stream says them, for frames that do not say when they are shown."""
    stated = [float(rate) for rate in (source.average_rate, source.guessed_rate, source.base_rate) if rate]
    return next((rate for rate in stated if _RATES[0] <= rate <= _RATES[1]), _USUAL_RATE)


def _aspect(source: Any) -> float:
    stated = float(source.sample_aspect_ratio or 1)
    return stated if _ASPECTS[0] <= stated <= _ASPECTS[1] else 1.0


class _Upright:
    """Makes frames RGB, and turns and mirrors them as the first one's display matrix says, to quarter turns."""

    def __init__(self, aspect: float) -> None:
        from av.video.reformatter import VideoReformatter

        self._aspect = aspect
        self._reformatter: Any = VideoReformatter()
        self._matrix: tuple[int, int, int, int] | None = None

    def __call__(self, frame: Any, times: int) -> Frame:
        if frame.width * frame.height > MOST_PIXELS:
            raise ValueError(f"a picture of {frame.width} x {frame.height} pixels; {MOST_PIXELS} are read at most")
        rgb, aspect = self._reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray(), self._aspect
        self._matrix = a, b, c, d = self._matrix or _matrix(frame)
        if abs(b) + abs(c) > abs(a) + abs(d):  # x and y change places
            rgb, aspect, a, d = rgb.swapaxes(0, 1), 1 / aspect, c, b
        return Frame(rgb[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1], aspect, times)


def _matrix(frame: Any) -> tuple[int, int, int, int]:
    """(a, b, c, d) of x' = a x + c y, y' = b x + d y, y downwards (libavutil/display.h).

    A frame that is asked for its side data is not freed before the collector comes by, nor are the decoder's
    buffers: a tiny copy is asked.
    """
    from av.sidedata.sidedata import Type
    from av.video.reformatter import VideoReformatter

    tiny: Any = VideoReformatter().reformat(frame, width=16, height=16, format="gray", threads=1)
    found = tiny.side_data.get(Type.DISPLAYMATRIX)
    if found is None:
        return 1, 0, 0, 1
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(found)[:36])
    return a, b, c, d
