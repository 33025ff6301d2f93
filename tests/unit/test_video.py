"""A clip's pictures: which are taken, what is seen of them, and what is said of a file that has none."""

from __future__ import annotations

import gc
import tracemalloc
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.meld_trees import tone, write_clip
from tests.helpers.sounds import write_sound
from tests.helpers.videos import counting, number, plain, quarters, write_video
from trainables.importers.frames import Clock, Reel
from trainables.importers.media import Part, read_clip
from trainables.importers.video import ClipImages, read_images
from trainables.pictures import decode_images
from trainables.spec.any_corpus import VisualSpec

VISUAL = VisualSpec(rate=5, size=32)
WHITE, RED, BLUE, BLACK = (255, 255, 255), (255, 0, 0), (0, 0, 255), (0, 0, 0)


def read(path: Path, visual: VisualSpec = VISUAL, start: float = 0.0, end: float | None = None) -> ClipImages:
    return read_images(path, visual, 0.4, 15.0, start=start, end=end)


def seen(clip: ClipImages) -> list[int]:
    """Which pictures of `counting` they are."""
    assert clip.images is not None
    return [number(picture) for picture in decode_images(clip.images)]


def corners(clip: ClipImages) -> list[tuple[int, int, int]]:
    """Top left, top right, bottom left, bottom right of the first picture, each channel 0 or 255."""
    assert clip.images is not None
    picture = decode_images(clip.images)[0]
    low, high = len(picture) // 6, len(picture) - 1 - len(picture) // 6
    found = [picture[row, column] for row in (low, high) for column in (low, high)]
    return [tuple(255 * (colour > 127) for colour in pixel) for pixel in found]


@pytest.mark.parametrize(
    ("rate", "times", "expected"),
    [
        (5.0, 25.0, [0, 5, 10, 15, 20]),
        (25.0, 25.0, list(range(25))),
        (2.0, 25.0, [0, 12]),
        (5.0, 10.0, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24]),
        (50.0, 25.0, [i // 2 for i in range(50)]),
        (5.0, 30000 / 1001, [0, 6, 12, 18, 24]),  # each late by less than a millisecond
    ],
    ids=["every fifth", "every", "slower", "slower stream", "faster than the stream", "29.97"],
)
def test_frame_i_is_what_is_shown_at_i_over_rate(
    rate: float, times: float, expected: list[int], tmp_path: Path
) -> None:
    clip = read(write_video(tmp_path / "a.mp4", counting(25), times), VISUAL.model_copy(update={"rate": rate}))
    assert (clip.status, clip.reason) == ("ok", "")
    assert seen(clip) == expected


def test_a_picture_of_a_variable_rate_is_shown_until_the_next(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.08, 0.75, 0.79, 1.6, 1.64]
    path = write_video(tmp_path / "a.mkv", counting(7), times)
    assert seen(read(path)) == [0, 2, 2, 2, 4, 4, 4, 4, 5]


def test_before_the_first_picture_the_first_is_shown(tmp_path: Path) -> None:
    times = [0.5 + i / 25 for i in range(25)]
    path = write_video(tmp_path / "a.mkv", counting(25), times, sound=1.5)
    assert seen(read(path)) == [0, 0, 0, 2, 7, 12, 17, 22]


def test_pictures_begin_with_the_stored_sound(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", counting(25), sound=0.6, sound_from=0.4)
    with av.open(str(path)) as container:
        assert container.streams.audio[0].start_time == 400  # milliseconds
    assert seen(read(path)) == [10, 15, 20]


def test_a_transport_stream_begins_at_its_own_zero(tmp_path: Path) -> None:
    times = [3600 + i / 25 for i in range(50)]
    path = write_video(tmp_path / "a.ts", counting(50), times, codec="libx264")
    with av.open(str(path)) as container:
        assert container.start_time > 3_000_000_000
    assert seen(read(path)) == list(range(0, 50, 5))
    assert seen(read(path, start=1.0)) == list(range(25, 50, 5))


def test_a_part_of_sound_is_counted_from_its_own_zero_too(tmp_path: Path) -> None:
    pictures, times = counting(50), [3600 + i / 25 for i in range(50)]
    path = write_video(tmp_path / "a.ts", pictures, times, codec="libx264", sound=2.0, sound_from=3600)
    assert read_clip(path, 0.4, 15.0, 1.0).raw_seconds == pytest.approx(1.0, abs=0.15)
    assert read_clip(path, 0.4, 15.0, 1.0, 1.5).raw_seconds == pytest.approx(0.5, abs=0.001)


def test_frames_without_timestamps_follow_at_the_streams_rate(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.h264", counting(50), codec="libx264", options={"bf": "2"})
    with av.open(str(path)) as container:
        assert {frame.pts for frame in container.decode(video=0)} == {None}
    assert seen(read(path)) == list(range(0, 50, 5))


def test_timestamps_that_go_back_do_not_stop_the_clock(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", counting(50), codec="libx264", options={"bf": "2"})
    with av.open(str(path)) as container:
        stamps = [frame.pts for frame in container.decode(video=0)]
    assert stamps != sorted(stamps)
    found = seen(read(path))
    assert found == sorted(found)
    assert all(abs(which - 5 * i) <= 3 for i, which in enumerate(found[:10]))


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0.0, 0.6, [0, 5, 10]),
        (1.0, 1.8, [25, 30, 35, 40]),
        (3.21, 3.9, [80, 85, 90, 95]),
        (5.0, None, [125, 130, 135, 140, 145]),
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "h264"])
def test_a_part_is_what_the_whole_has_there(
    start: float, end: float | None, expected: list[int], suffix: str, tmp_path: Path
) -> None:
    path = write_video(tmp_path / f"a.{suffix}", counting(150), codec="libx264", options={"g": "30"})
    assert seen(read(path, start=start, end=end)) == expected


def test_a_part_is_sought_and_not_read_up_to(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [plain(9)] * 1000, options={"g": "25"})
    reel = Reel(path, 5.0, 15.0, Part(36.0, 37.0))
    assert len(list(reel.frames())) > 0
    assert reel.decoded < 100


def test_no_more_is_decoded_than_the_crop_needs(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [plain(9)] * 500)
    reel = Reel(path, 5.0, 2.0, Part())
    assert sum(frame.times for frame in reel.frames()) == 10
    assert reel.decoded < 60
    assert reel.raw_seconds == pytest.approx(20)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_clip_is_too_long_in_every_container(suffix: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / f"a.{suffix}", counting(200))
    whole, part = read_images(path, VISUAL, 0.4, 2.0), read_images(path, VISUAL, 0.4, 2.0, start=1, end=5)
    assert (whole.status, whole.reason) == ("too_long", "8.0 s of pictures; cropped to their first 2 s")
    assert (part.status, part.reason) == ("too_long", "4.0 s of pictures; cropped to their first 2 s")
    assert read_images(path, VISUAL, 0.4, 2.0, start=1, end=3).status == "ok"


def test_lengths_are_brought_between_the_limits(tmp_path: Path) -> None:
    long = read_images(write_video(tmp_path / "long.mp4", counting(50)), VISUAL, 0.4, 1.0)
    assert (long.status, seen(long)) == ("too_long", [0, 5, 10, 15, 20])
    assert long.reason == "2.0 s of pictures; cropped to their first 1 s"
    short = read_images(write_video(tmp_path / "short.mp4", counting(2)), VISUAL, 1.0, 15.0)
    assert (short.status, seen(short)) == ("too_short", [0] * 5)
    assert short.reason == "0.080 s of pictures; the last one was held"


def test_a_picture_that_stays_is_stored_once_for_every_moment(tmp_path: Path) -> None:
    clip = read(write_video(tmp_path / "a.mkv", counting(3), [0.0, 1.0, 2.0]))
    assert clip.images is not None
    assert len(clip.images) == 11
    assert len({id(image) for image in clip.images}) == 3


ORIENTATIONS: list[tuple[Any, list[tuple[int, int, int]]]] = [
    (lambda stream: None, [WHITE, RED, BLUE, BLACK]),
    (lambda stream: stream.set_display_rotation(90), [RED, BLACK, WHITE, BLUE]),
    (lambda stream: stream.set_display_rotation(180), [BLACK, BLUE, RED, WHITE]),
    (lambda stream: stream.set_display_rotation(-90), [BLUE, WHITE, BLACK, RED]),
    (lambda stream: stream.set_display_matrix([-65536, 0, 0, 0, 65536, 0, 0, 0, 2**30]), [RED, WHITE, BLACK, BLUE]),
    (lambda stream: stream.set_display_matrix([0, 65536, 0, 65536, 0, 0, 0, 0, 2**30]), [WHITE, BLUE, RED, BLACK]),
]


@pytest.mark.parametrize(
    ("turn", "expected"), ORIENTATIONS, ids=["as it is", "left", "half", "right", "mirrored", "transposed"]
)
def test_pictures_stand_as_their_display_matrix_says(
    turn: Any, expected: list[tuple[int, int, int]], tmp_path: Path
) -> None:
    square = quarters(64, 64)
    clip = read(write_video(tmp_path / "a.mp4", [square] * 10, change=turn, options={"qscale": "1"}))
    assert corners(clip) == expected


@pytest.mark.parametrize("turned", [False, True])
def test_pixels_that_are_not_square_are_made_so(turned: bool, tmp_path: Path) -> None:
    """A disc of 64 lines that is stored half as wide as it looks."""
    rows, columns = np.mgrid[0:64, 0:64]
    disc = ((rows - 31.5) / 24) ** 2 + ((columns - 31.5) / 12) ** 2 <= 1
    picture = np.repeat((255 * disc).astype(np.uint8)[..., None], 3, axis=2)

    def turn(stream: Any) -> None:
        if turned:
            stream.set_display_rotation(90)

    path = write_video(tmp_path / "a.mp4", [picture] * 10, aspect=Fraction(2, 1), change=turn)
    clip = read(path, VISUAL.model_copy(update={"size": 64}))
    assert clip.images is not None
    found = decode_images(clip.images)[0][..., 0] > 127
    height, width = found.any(axis=1).sum(), found.any(axis=0).sum()
    assert abs(int(height) - 48) <= 2
    assert abs(int(width) - 48) <= 2


@pytest.mark.parametrize(("width", "height"), [(160, 64), (64, 160)])
def test_the_whole_is_the_largest_square_in_the_middle(width: int, height: int, tmp_path: Path) -> None:
    picture = plain(0, width, height)
    picture[(height - 64) // 2 : (height + 64) // 2, (width - 64) // 2 : (width + 64) // 2] = 255
    clip = read(write_video(tmp_path / "a.mp4", [picture] * 10, options={"qscale": "1"}))
    assert clip.images is not None
    found = decode_images(clip.images)
    assert found.shape == (2, 32, 32, 3)
    assert found.mean() > 245


@pytest.mark.parametrize(
    ("suffix", "codec", "pixels"),
    [
        ("mkv", "ffv1", "yuv422p10le"),
        ("mkv", "ffv1", "gray"),
        ("mkv", "ffv1", "bgra"),
        ("mkv", "ffv1", "gbrp12le"),
        ("avi", "mjpeg", "yuvj444p"),
        ("mov", "qtrle", "rgb24"),
        ("mp4", "libx264", "yuv444p"),
        ("webm", "libvpx-vp9", "yuv420p"),
        ("gif", "gif", "rgb8"),
    ],
)
def test_every_pixel_format_is_read(suffix: str, codec: str, pixels: str, tmp_path: Path) -> None:
    clip = read(write_video(tmp_path / f"a.{suffix}", counting(25), codec=codec, pixels=pixels))
    assert (clip.status, seen(clip)) == ("ok", [0, 5, 10, 15, 20])


def with_cover(path: Path, *, pictures: bool) -> Path:
    """Sound, a cover that was attached, and perhaps a stream of pictures behind it."""
    with av.open(str(path), "w") as container:
        cover: Any = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        video: Any = container.add_stream("mpeg4", rate=25) if pictures else None
        sound: Any = container.add_stream("aac", rate=48_000, layout="mono")
        if video is not None:
            video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        container.mux(cover.encode(av.VideoFrame.from_ndarray(plain(255, 64, 64), format="rgb24")))
        container.mux(cover.encode(None))
        if video is not None:
            for picture in counting(25):
                container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(tone(1)[None], format="fltp", layout="mono")
        frame.sample_rate = 48_000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def test_a_cover_is_no_stream_of_pictures(tmp_path: Path) -> None:
    alone = read(with_cover(tmp_path / "a.mp4", pictures=False))
    assert (alone.images, alone.status, alone.reason) == (None, "no_video", "the file has no pictures")
    assert seen(read(with_cover(tmp_path / "b.mp4", pictures=True))) == [0, 5, 10, 15, 20]


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_file_of_sound_alone_has_no_pictures(name: str, tmp_path: Path) -> None:
    clip = read(write_sound(tmp_path / name))
    assert (clip.images, clip.status, clip.reason) == (None, "no_video", "the file has no pictures")
    aac = read(write_clip(tmp_path / "a.mp4", tone(1)[None]))
    assert aac.status == "no_video"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"\x00\x05\x16\x07", "Invalid data"),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(200), "Invalid data"),
    ],
    ids=["empty", "AppleDouble", "no moov atom"],
)
def test_a_file_that_is_no_media_keeps_the_errors_words(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    clip = read(path)
    assert (clip.images, clip.status) == (None, "decode_error")
    assert words in clip.reason


def test_an_absent_file_is_an_error_of_its_row(tmp_path: Path) -> None:
    assert read(tmp_path / "absent.mp4").status == "decode_error"


def test_a_part_behind_the_last_picture_has_none(tmp_path: Path) -> None:
    clip = read(write_video(tmp_path / "a.mp4", counting(25)), start=3.0)
    assert (clip.images, clip.status, clip.reason) == (None, "no_video", "no picture is shown from 3 s on")


def damaged(path: Path, first: float, last: float, byte: bytes) -> Path:
    """The file with the bytes of its media between two shares overwritten."""
    data = bytearray(path.read_bytes())
    begin = data.index(b"mdat") + 4
    length = data.index(b"moov") - begin
    low, high = begin + round(first * length), begin + round(last * length)
    data[low:high] = byte * (high - low)
    path.write_bytes(bytes(data))
    return path


def test_damaged_packets_are_skipped_and_what_was_shown_stays(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 40, (50, 64, 96, 1))
    pictures = [(picture + noise[i]).astype(np.uint8) for i, picture in enumerate(counting(50))]
    path = write_video(tmp_path / "a.mp4", pictures, codec="libx264", options={"g": "5", "bf": "0"})
    whole = seen(read(path))
    clip = read(damaged(path, 0.5, 0.56, b"\xff"))
    assert clip.status == "ok"
    assert "packets of pictures could not be decoded and were skipped" in clip.reason
    assert len(seen(clip)) == len(whole) == 10
    assert seen(clip)[:4] == whole[:4]
    assert seen(clip)[-2:] == whole[-2:]


def test_a_file_that_breaks_off_is_unusable_below_half(tmp_path: Path) -> None:
    options = {"movflags": "+faststart"}
    whole = write_video(
        tmp_path / "a.mp4", counting(50), codec="mjpeg", pixels="yuvj420p", container_options=options
    )
    data = whole.read_bytes()
    for kept, status in ((0.3, "decode_error"), (0.8, "ok")):
        whole.write_bytes(data[: round(kept * len(data))])
        clip = read(whole)
        assert clip.status == status
        assert (clip.images is None) == (status == "decode_error")


def test_nothing_decodable_says_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", counting(25), codec="libx264")
    clip = read(damaged(path, 0.0, 1.0, b"\x00"))
    assert (clip.images, clip.status) == (None, "decode_error")


def test_one_decoded_frame_is_held_at_a_time(tmp_path: Path) -> None:
    """A square is 32 x 32 x 3 bytes, a frame of this clip 2.7 MB: a hundred held ones would be seen."""
    path = write_video(tmp_path / "a.mp4", [plain(60, 1280, 720)] * 100)
    visual = VISUAL.model_copy(update={"rate": 25})
    read(path, visual)
    tracemalloc.start()
    try:
        read(path, visual)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * 1280 * 720 * 3


def test_no_decoded_frame_waits_for_the_collector(tmp_path: Path) -> None:
    """A frame that stays keeps its decoder's buffers: some 70 MB a clip, and a worker reads thousands."""
    path = write_video(tmp_path / "a.mp4", counting(25), change=lambda stream: stream.set_display_rotation(90))
    gc.collect()
    gc.disable()
    try:
        read(path)
        waiting = [found for found in gc.get_objects() if isinstance(found, av.VideoFrame) and found.width > 16]
    finally:
        gc.enable()
    assert waiting == []


def test_a_still_image_is_a_clip_of_one_picture(tmp_path: Path) -> None:
    Image.fromarray(quarters()).save(tmp_path / "a.png")
    clip = read(tmp_path / "a.png")
    assert clip.images is not None
    assert len(clip.images) == 2
    assert corners(clip) == [WHITE, RED, BLUE, BLACK]


@pytest.mark.parametrize(
    ("times", "expected"),
    [([0.2, 0.4, 0.6], [1, 1, 1]), ([0.1, 0.2, 0.6], [1, 0, 2]), ([9.0], [5]), ([-1.0, 0.0, 0.001], [0, 0, 0])],
)
def test_the_clock_counts_each_moment_once(times: list[float], expected: list[int]) -> None:
    clock = Clock(0.0, 5.0, 5)
    assert [clock.until(time) for time in times] == expected
    assert clock.done == (sum(expected) == 5)


def test_the_same_clip_gives_the_same_bytes(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [quarters()] * 25)
    first: list[bytes] | None = read(path).images
    second: NDArray[np.uint8] = decode_images(read(path).images or [])
    assert first is not None
    assert np.array_equal(decode_images(first), second)
    assert first == read(path).images
