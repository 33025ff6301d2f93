"""Decoding one clip: what is heard of it, how long it is, and what is said of a bad one."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tests.helpers.meld_trees import RATE, tone, write_clip, write_picture
from trainables.importers import media
from trainables.importers.media import ClipAudio, read_clip


def read(path: Path, min_seconds: float = 0.4, max_seconds: float = 15.0) -> ClipAudio:
    return read_clip(path, min_seconds, max_seconds)


def samples(clip: ClipAudio) -> NDArray[np.float64]:
    assert clip.audio is not None
    values, rate = soundfile.read(io.BytesIO(clip.audio))
    assert rate == 16_000
    assert values.ndim == 1
    assert len(values) == round(clip.seconds * 16_000)
    return np.asarray(values)


def level(values: NDArray[np.float64]) -> float:
    """The amplitude of a sine with the middle's power."""
    middle = values[len(values) // 4 : -len(values) // 4]
    return float(np.sqrt(2 * np.mean(middle**2)))


def in_channel(channel: int, of: int, seconds: float = 1.0) -> NDArray[np.float32]:
    channels = np.zeros((of, round(seconds * RATE)), np.float32)
    channels[channel] = tone(seconds)
    return channels


@pytest.mark.parametrize(
    ("layout", "channels", "expected"),
    [
        ("mono", in_channel(0, 1), 0.5),
        ("stereo", in_channel(0, 2), 0.25),
        ("stereo", np.stack([tone(1), tone(1)]), 0.5),
        ("5.1", in_channel(2, 6), 0.5),
        ("5.1", in_channel(0, 6), 0.5 / 6),
    ],
    ids=["mono", "one side of stereo", "both sides", "5.1 centre", "5.1 with a silent centre"],
)
def test_the_centre_channel_is_taken_alone_and_others_are_averaged(
    tmp_path: Path, layout: str, channels: NDArray[np.float32], expected: float
) -> None:
    clip = read(write_clip(tmp_path / "dia0_utt0.mp4", channels, layout))
    assert clip.status == "ok"
    assert level(samples(clip)) == pytest.approx(expected, rel=0.05)


def test_a_loud_side_does_not_reach_the_mix_where_there_is_a_centre(tmp_path: Path) -> None:
    channels = in_channel(2, 6)
    channels[0] = tone(1, hertz=3000, level=0.9)
    spectrum = np.abs(np.fft.rfft(samples(read(write_clip(tmp_path / "a.mp4", channels, "5.1")))))
    assert spectrum[:2000].max() > 20 * spectrum[2900:3100].max()  # one bin is about one hertz


def test_resampling_keeps_pitch_and_length(tmp_path: Path) -> None:
    clip = read(write_clip(tmp_path / "a.mp4", tone(2)[None]))
    values = samples(clip)
    peak = int(np.argmax(np.abs(np.fft.rfft(values)))) / clip.seconds
    assert peak == pytest.approx(440, abs=1)
    assert clip.seconds == pytest.approx(2, abs=0.05)
    assert clip.raw_seconds == pytest.approx(clip.seconds, abs=0.01)


@pytest.mark.parametrize(
    ("seconds", "status", "stored"),
    [(0.064, "too_short", 0.4), (0.2, "ok", 0.4), (0.9, "ok", 0.9), (3.0, "too_long", 1.0)],
)
def test_lengths_are_brought_between_the_limits(tmp_path: Path, seconds: float, status: str, stored: float) -> None:
    clip = read(write_clip(tmp_path / "a.wav", tone(seconds)[None], codec="pcm_s16le"), max_seconds=1.0)
    assert (clip.status, clip.seconds) == (status, stored)
    assert clip.raw_seconds == pytest.approx(seconds, abs=1e-3)
    assert len(samples(clip)) == round(stored * 16_000)
    assert bool(clip.reason) == (status != "ok")


def test_no_more_is_decoded_than_the_crop_needs(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", tone(10)[None])
    stream = media._decode(path, 1.0)
    assert stream is not None
    assert RATE <= stream.mono.size <= RATE + 2048
    assert stream.raw_seconds == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize("suffix", ["mp4", "wav", "flac"])
@pytest.mark.parametrize(("start", "end"), [(0.0, 1.5), (3.21, 4.71), (7.0, None)])
def test_a_part_is_what_the_whole_has_there(tmp_path: Path, suffix: str, start: float, end: float | None) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 8 * RATE)
    smooth = np.convolve(noise, np.hanning(32) / 16, "same").astype(np.float32)
    codec = {"wav": "pcm_s16le", "flac": "flac"}.get(suffix, "aac")
    path = write_clip(tmp_path / f"a.{suffix}", smooth[None], codec=codec)
    whole, clip = samples(read(path)), read_clip(path, 0.4, 15.0, start, end)
    part = samples(clip)
    assert clip.status == "ok"
    assert clip.raw_seconds == pytest.approx((end or 8.0) - start, abs=0.03)
    first = round(start * 16_000)
    expected = whole[first : first + len(part)]
    assert np.corrcoef(part[200:-200], expected[200:-200])[0, 1] > 0.99


@pytest.mark.parametrize(
    ("start", "end", "status", "raw_seconds"),
    [
        (1.0, 3.5, "too_long", 2.5),
        (2.5, 9.0, "ok", 1.5),
        (3.95, 9.0, "too_short", 0.05),
        (4.5, None, "no_audio", 0.0),
    ],
)
def test_a_part_is_cropped_padded_or_beyond_the_end(
    tmp_path: Path, start: float, end: float | None, status: str, raw_seconds: float
) -> None:
    path = write_clip(tmp_path / "a.wav", tone(4)[None], codec="pcm_s16le")
    clip = read_clip(path, 0.4, 2.0, start, end)
    assert clip.status == status
    assert clip.raw_seconds == pytest.approx(raw_seconds, abs=0.001)
    assert (clip.audio is None) == (status == "no_audio")


@pytest.mark.parametrize("suffix", ["mp4", "m4a", "wav", "flac"])
def test_every_container_is_read(tmp_path: Path, suffix: str) -> None:
    codec = {"wav": "pcm_s16le", "flac": "flac"}.get(suffix, "aac")
    clip = read(write_clip(tmp_path / f"a.{suffix}", tone(1)[None], codec=codec))
    assert clip.status == "ok"
    assert level(samples(clip)) == pytest.approx(0.5, rel=0.05)


def test_silence_is_ok_and_says_so(tmp_path: Path) -> None:
    clip = read(write_clip(tmp_path / "a.wav", np.zeros((1, RATE), np.float32), codec="pcm_s16le"))
    assert (clip.status, clip.reason) == ("ok", "digital silence")
    assert not samples(clip).any()


def test_a_clip_without_sound_has_no_audio(tmp_path: Path) -> None:
    clip = read(write_picture(tmp_path / "a.mp4"))
    assert (clip.status, clip.audio, clip.reason) == ("no_audio", None, "the file has no audio stream")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\x00\x05\x16\x07", "Invalid data"),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(200), "Invalid data"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Invalid data"),
    ],
    ids=["empty", "AppleDouble", "no moov atom", "git-lfs pointer"],
)
def test_a_file_that_is_no_media_keeps_the_errors_words(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "dia125_utt3.mp4"
    path.write_bytes(data)
    clip = read(path)
    assert (clip.status, clip.audio, clip.seconds) == ("decode_error", None, 0.0)
    assert words in clip.reason


def test_an_absent_file_is_an_error_of_its_row(tmp_path: Path) -> None:
    assert read(tmp_path / "absent.mp4").status == "decode_error"


@pytest.mark.parametrize(
    ("kept", "status", "words"), [(0.3, "decode_error", "only"), (0.75, "ok", "could be decoded")]
)
def test_a_truncated_file_is_unusable_below_half(tmp_path: Path, kept: float, status: str, words: str) -> None:
    whole = write_clip(tmp_path / "whole.flac", tone(3)[None], codec="flac").read_bytes()
    path = tmp_path / "cut.flac"
    path.write_bytes(whole[: round(kept * len(whole))])
    clip = read(path)
    assert clip.status == status
    assert words in clip.reason
    assert (clip.audio is None) == (status == "decode_error")


@pytest.mark.parametrize("damage", [b"\xff", b"\x00"])
def test_damaged_packets_are_skipped_and_counted(tmp_path: Path, damage: bytes) -> None:
    data = bytearray(write_clip(tmp_path / "whole.mp4", tone(4)[None]).read_bytes())
    start = data.index(b"mdat") + 4
    data[start + 4000 : start + 5000] = damage * 1000
    path = tmp_path / "damaged.mp4"
    path.write_bytes(bytes(data))
    clip = read(path)
    assert clip.status == "ok"
    assert re.fullmatch(r"\d+ packets could not be decoded and were skipped", clip.reason)
    assert 3 < clip.raw_seconds < 4
