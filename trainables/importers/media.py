"""One clip in, 16 kHz mono FLAC out: decoding by PyAV, bounded in time and memory, never raising for a bad file.

Of several channels the front centre one is taken where the layout has it (in 5.1 the dialogue sits there, and a
mean of six would bury it), else their mean. A packet that cannot be decoded is skipped, as ffmpeg does; a clip of
which less than half could be decoded counts as a `decode_error`. Digital silence stays `ok`, with a reason: there
is nothing to hear, but a test row is still to be predicted.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.corpus import SAMPLE_RATE, Status

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONTAINERS = (
    "aac", "ac3", "aiff", "amr", "ape", "asf", "au", "av1", "avi", "bmp_pipe", "caf", "dv", "eac3", "flac", "flv",
    "gif", "h264", "hevc", "ivf", "jpeg_pipe", "m4v", "matroska", "mjpeg", "mov", "mp3", "mpeg", "mpegts",
    "mpegvideo", "mxf", "nistsphere", "nut", "obu", "ogg", "png_pipe", "rm", "sox", "tiff_pipe", "tta", "voc",
    "w64", "wav", "webp_pipe", "wv",
)  # fmt: skip
"""Of libav's demuxers those of files that hold what they play. A list of other files or of addresses (concat, hls,
dash, image2), whatever its name, would have the decoder open what nobody named."""

SHORTEST_SECONDS = 0.1
"""A clip that decodes to less than this is `too_short`."""
LEAST_DECODED = 0.5
"""The part of its stated duration that must have been decoded."""
LEAD_SECONDS = 0.5
"""How long before a part decoding begins: codecs need a frame or two to come in."""
_SILENCE = 2**-15


@dataclass(frozen=True)
class ClipAudio:
    """`audio` is FLAC or None; `raw_seconds` is what the file holds, `seconds` what `audio` holds."""

    audio: bytes | None
    seconds: float
    raw_seconds: float
    status: Status
    reason: str = ""


@dataclass
class _Stream:
    """What decoding a stream gave: float32 [samples] at `rate`, at most the limit and one frame long."""

    mono: NDArray[np.float32]
    rate: int
    raw_seconds: float
    stated_seconds: float
    bad_packets: int
    whole: bool
    remark: str = ""


@dataclass(frozen=True)
class Part:
    """From where to where in the file, in seconds; its end where `end` is None."""

    start: float = 0.0
    end: float | None = None

    def within(self, seconds: float) -> float:
        """How much of a file of that length it is."""
        return max(0.0, min(seconds, seconds if self.end is None else self.end) - self.start)


_WHOLE = Part()


def read_clip(
    path: Path, min_seconds: float, max_seconds: float, start: float = 0.0, end: float | None = None
) -> ClipAudio:
    """Decode, pad to `min_seconds`, crop to `max_seconds`, encode. Any fault becomes the status and its words.

    `start` and `end` (seconds of the file) make that part of it the clip; `raw_seconds` is then the part's.
    """
    try:
        if path.stat().st_size == 0:
            return ClipAudio(None, 0.0, 0.0, "decode_error", "the file is empty")
        stream = _decode(path, max_seconds, Part(start, end))
    except Exception as error:  # libav, the container and the resampler raise of many kinds, all about this file
        return ClipAudio(None, 0.0, 0.0, "decode_error", words(error))
    if stream is None:
        return ClipAudio(None, 0.0, 0.0, "no_audio", "the file has no audio stream")
    if start and not stream.mono.size and not stream.bad_packets:
        return ClipAudio(None, 0.0, 0.0, "no_audio", f"the file ends before {start:g} s")
    return _judge(stream, min_seconds, max_seconds)


def _judge(stream: _Stream, min_seconds: float, max_seconds: float) -> ClipAudio:
    raw, stated = stream.raw_seconds, stream.stated_seconds
    if stream.whole and raw < LEAST_DECODED * stated and stated - raw > SHORTEST_SECONDS:
        reason = f"only {raw:.2f} s of {stated:.2f} s could be decoded"
        return ClipAudio(None, 0.0, raw, "decode_error", reason)
    if not stream.mono.size and stream.bad_packets:
        return ClipAudio(None, 0.0, 0.0, "decode_error", "no packet could be decoded")
    if not stream.mono.size:
        return ClipAudio(None, 0.0, 0.0, "no_audio", "the audio stream holds no samples")
    status: Status = "ok"
    remarks = [stream.remark] if stream.remark else []
    if stream.whole and stated - raw > max(SHORTEST_SECONDS, 0.1 * stated):
        remarks.append(f"{raw:.2f} s of {stated:.2f} s could be decoded")
    if raw < SHORTEST_SECONDS:
        status = "too_short"
        remarks.insert(0, f"{raw:.3f} s decoded; padded with silence to {min_seconds:g} s")
    elif raw > max_seconds:
        status = "too_long"
        remarks.insert(0, f"{raw:.1f} s long; cropped to its first {max_seconds:g} s")
    if stream.bad_packets:
        remarks.append(f"{stream.bad_packets} packets could not be decoded and were skipped")
    if abs(stream.mono).max() < _SILENCE:
        remarks.append("digital silence")
    audio, seconds = _encode(stream, min_seconds, max_seconds)
    return ClipAudio(audio, seconds, raw, status, "; ".join(remarks))


def _decode(path: Path, max_seconds: float, part: Part = _WHOLE) -> _Stream | None:
    """The first audio stream, up to the frame in which `max_seconds` is passed; None without such a stream.

    A part is sought, so that it costs what it is long, wherever in a recording it lies.
    """
    import av

    with open_container(path) as container:
        if not container.streams.audio:
            return None
        source = container.streams.audio[0]
        planar = av.AudioResampler(format="fltp")
        mix = _Mix(part)
        bad = 0
        stated = part.within(_stated_seconds(source, container))
        zero = origin(container)
        if part.start and source.time_base:
            container.seek(int((zero + max(0.0, part.start - LEAD_SECONDS)) / source.time_base), stream=source)
        for packet in container.demux(source):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:  # of many numbers, some of them another error's
                bad += 1
                continue
            for frame in frames:
                mix.begin(frame.sample_rate, (frame.time or 0.0) - zero)
                for piece in planar.resample(frame):
                    mix.add(piece.to_ndarray(), [channel.name for channel in piece.layout.channels])
            if mix.done or mix.seconds > max_seconds:
                break
    decoded = mix.seconds
    whole = decoded <= max_seconds
    mono, remark = mix.result()
    return _Stream(mono, mix.rate, decoded if whole else max(decoded, stated), stated, bad, whole, remark)


class _Mix:
    """Frames [channels, samples] as they come, of the part alone; one channel in the end."""

    def __init__(self, part: Part) -> None:
        self.rate = 0
        self.samples = 0
        self._part = part
        self._skip = 0
        self._most: int | None = None
        self._mean: list[NDArray[np.float32]] = []
        self._centre: list[NDArray[np.float32]] = []

    @property
    def seconds(self) -> float:
        return self.samples / self.rate if self.rate else 0.0

    @property
    def done(self) -> bool:
        """Whether the part's last sample is there."""
        return self._most is not None and self.samples >= self._most

    def begin(self, rate: int, time: float) -> None:
        """Of the first frame, that starts at `time` seconds of the clip; later ones say nothing new."""
        if not self.rate:
            self.rate = rate
            self._skip = max(0, round((self._part.start - time) * rate)) if self._part.start else 0
            if self._part.end is not None:
                self._most = round((self._part.end - self._part.start) * rate)

    def add(self, frame: NDArray[np.float32], channels: list[str]) -> None:
        skipped = min(self._skip, frame.shape[1])
        self._skip -= skipped
        frame = frame[:, skipped : None if self._most is None else skipped + self._most - self.samples]
        if not frame.shape[1]:
            return
        self.samples += frame.shape[1]
        self._mean.append(frame.mean(axis=0))
        if "FC" in channels:
            self._centre.append(frame[channels.index("FC")])

    def result(self) -> tuple[NDArray[np.float32], str]:
        """float32 [samples], not finite ones as zeros, and a remark."""
        import numpy as np

        if not self.samples:
            return np.zeros(0, np.float32), ""
        mono, remark = np.nan_to_num(np.concatenate(self._mean)), ""
        if len(self._centre) == len(self._mean):
            centre = np.nan_to_num(np.concatenate(self._centre))
            if abs(centre).max() >= _SILENCE or abs(mono).max() < _SILENCE:
                return centre, ""
            remark = "the centre channel is silent; all channels mixed"
        return mono, remark


def _encode(stream: _Stream, min_seconds: float, max_seconds: float) -> tuple[bytes, float]:
    """FLAC (16 bit) of the cropped or padded samples at `SAMPLE_RATE`, and its length in seconds."""
    import numpy as np
    import soundfile

    samples = resample(stream.mono, stream.rate)[: round(max_seconds * SAMPLE_RATE)]
    least = round(min_seconds * SAMPLE_RATE)
    samples = np.pad(samples, (0, max(0, least - len(samples))))
    pcm = np.round(np.clip(samples, -1.0, 1.0) * 32767).astype(np.int16)
    with io.BytesIO() as buffer:
        soundfile.write(buffer, pcm, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        return buffer.getvalue(), len(pcm) / SAMPLE_RATE


def resample(mono: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """float32 [samples] at `rate` hertz to float32 [samples'] at `SAMPLE_RATE`."""
    import av
    import numpy as np

    if rate == SAMPLE_RATE:
        return mono
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(mono[None]), format="fltp", layout="mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE)
    parts = [part.to_ndarray()[0] for part in [*resampler.resample(frame), *resampler.resample(None)]]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def open_container(path: Path) -> Any:
    """libav's container of a local file of one of CONTAINERS; what it raises says nothing of that list."""
    import av

    whitelists = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}
    try:
        return av.open(str(path), options=whitelists)
    except av.error.ArgumentError as error:
        raise ValueError("not a container of sound or pictures that is read") from error


def origin(container: Any) -> float:
    """Where a clip begins by its container's clock, in seconds: where its sound does, if it has any.

    Transport streams begin anywhere, and of a clip that was cut sound and pictures need not begin together.
    """
    sound = next(iter(container.streams.audio), None)
    if sound is not None and sound.start_time is not None:
        return float(sound.start_time * sound.time_base)
    return (container.start_time or 0) / 1_000_000


def _stated_seconds(stream: Any, container: Any) -> float:
    """The duration that the stream states, else the container; 0 where neither does."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return float(container.duration or 0) / 1_000_000


def words(error: Exception) -> str:
    """The error's own words, without the path that libav puts in."""
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{type(error).__name__}: {words}".split("\n", 1)[0][:200]
