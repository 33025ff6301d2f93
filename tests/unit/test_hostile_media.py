"""Files from elsewhere that would have other files read, or unpack to more than there is memory."""

from __future__ import annotations

import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.helpers.sounds import RATE, tone
from tests.helpers.videos import counting, write_video
from trainables.errors import CorpusError
from trainables.importers import frames
from trainables.importers.features_arrays import opened
from trainables.importers.features_files import find_sources
from trainables.importers.media import read_clip
from trainables.importers.mosei_csd import read_labels
from trainables.importers.video import read_images
from trainables.spec.any_corpus import VisualSpec

VISUAL = VisualSpec(rate=5.0, size=32, crop="whole")


def secret_sound(folder: Path) -> Path:
    import soundfile

    soundfile.write(folder / "secret.wav", tone(1.0).reshape(-1), RATE)
    return folder / "secret.wav"


LISTS = {
    "concat": "ffconcat version 1.0\nfile {0.name}\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\n{0}\n#EXT-X-ENDLIST\n",
}


@pytest.mark.parametrize("name", ["clip.wav", "clip.mp4", "clip.ffconcat"])
@pytest.mark.parametrize("kind", LISTS)
def test_a_list_of_other_files_is_no_clip(kind: str, name: str, tmp_path: Path) -> None:
    secret = secret_sound(tmp_path)
    assert read_clip(secret, 0.4, 15.0).status == "ok"
    (tmp_path / name).write_text(LISTS[kind].format(secret))
    clip = read_clip(tmp_path / name, 0.4, 15.0)
    assert (clip.status, clip.audio) == ("decode_error", None)
    images = read_images(tmp_path / name, VISUAL, 0.4, 15.0)
    assert (images.status, images.images) == ("decode_error", None)


def test_a_picture_of_too_many_pixels_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", counting(5))
    assert read_images(path, VISUAL, 0.4, 15.0).status == "ok"
    monkeypatch.setattr(frames, "MOST_PIXELS", 96 * 64 - 1)
    found = read_images(path, VISUAL, 0.4, 15.0)
    assert (found.status, found.images) == ("decode_error", None)
    assert "a picture of 96 x 64 pixels" in found.reason


def hostile_hdf5(folder: Path) -> Path:
    """Arrays whose numbers are another file's, each by another of the format's ways, and one of 16 TB."""
    (folder / "secret.bin").write_bytes(np.arange(24, dtype="<f4").tobytes())
    with h5py.File(folder / "secret.h5", "w") as other:
        other["x"] = np.ones((4, 3), np.float32)
    with h5py.File(folder / "features.h5", "w") as file:
        file["own"] = np.ones((4, 3), np.float32)
        file.create_dataset("external", (4, 3), "<f4", external=[(str(folder / "secret.bin"), 0, 48)])
        layout = h5py.VirtualLayout((4, 3), dtype="f4")
        layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "x", shape=(4, 3))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("huge", (10**12, 4), "<f4", chunks=(1024, 4))
        file["link"] = h5py.ExternalLink(str(folder / "secret.h5"), "/x")
    return folder / "features.h5"


def test_arrays_of_other_files_and_of_terabytes_are_not_read(tmp_path: Path) -> None:
    faults = {}
    with opened(find_sources(hostile_hdf5(tmp_path))) as arrays:
        for stored in arrays:
            try:
                faults[stored.name] = f"read: {stored.read().shape}"
            except CorpusError as error:
                faults[stored.name] = str(error)
    assert set(faults) == {"own", "external", "virtual", "huge"}
    assert faults["own"] == "read: (4, 3)"
    assert "another file" in faults["external"]
    assert "another file" in faults["virtual"]
    assert "it unpacks to 16000 GB" in faults["huge"]


def test_words_of_hdf5_are_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "words.h5", "w") as file:
        file["names"] = np.array(["joy", "ärger"], dtype=h5py.string_dtype())
    with opened(find_sources(tmp_path / "words.h5")) as (stored,):
        assert stored.read().tolist() == ["joy", "ärger"]


@pytest.mark.parametrize("far", ["root", "video", "numbers"])
def test_a_csd_that_leads_elsewhere_is_no_csd(far: str, tmp_path: Path) -> None:
    def fill(group: h5py.Group) -> None:
        group["features"], group["intervals"] = np.ones((1, 7)), np.array([[0.0, 1.0]])

    with h5py.File(tmp_path / "secret.h5", "w") as other:
        fill(other.create_group("labels/data/v"))
    with h5py.File(tmp_path / "own.csd", "w") as file:
        fill(file.create_group("labels/data/v"))
    assert len(read_labels(tmp_path / "own.csd")) == 1
    elsewhere = str(tmp_path / "secret.h5")
    with h5py.File(tmp_path / "a.csd", "w") as file:
        if far == "root":
            file["labels"] = h5py.ExternalLink(elsewhere, "/labels")
        elif far == "video":
            file.create_group("labels/data")["v"] = h5py.ExternalLink(elsewhere, "/labels/data/v")
        else:
            fill(file.create_group("labels/data/v"))
            del file["labels/data/v/features"]
            file["labels/data/v"]["features"] = h5py.ExternalLink(elsewhere, "/labels/data/v/features")
    with pytest.raises(CorpusError):
        read_labels(tmp_path / "a.csd")


def test_an_npz_member_of_terabytes_is_not_unpacked(tmp_path: Path) -> None:
    """The archive says how large it is; nothing is unpacked to find out."""
    path = tmp_path / "features.npz"
    np.savez_compressed(path, audio_train=np.zeros((4, 3), np.float32))
    stated = zipfile.ZipFile(path).infolist()[0].file_size.to_bytes(4, "little")
    whole = path.read_bytes()
    directory = whole.rindex(b"PK\x01\x02")
    path.write_bytes(whole[:directory] + whole[directory:].replace(stated, b"\xfe\xff\xff\xff", 1))
    assert zipfile.ZipFile(path).infolist()[0].file_size == 2**32 - 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.sysconf", lambda name: 2**15)  # a machine of 1 GiB
        with opened(find_sources(path)) as (stored,), pytest.raises(CorpusError, match="it unpacks to 4 GB"):
            stored.read()
