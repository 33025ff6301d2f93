"""The stand-in's tree where nothing is spoken: MELD's three CSV files."""

from __future__ import annotations

import csv
from pathlib import Path

from trainables.spec import StandInSpec
from trainables.standin.rules import plan
from trainables.standin.writer import HEADER, write_tree


def test_text_alone_writes_the_csv_files_and_no_clip(tmp_path: Path) -> None:
    spec = StandInSpec(utterances=120, modalities=("text",))
    said = list(write_tree(spec, tmp_path, workers=1))
    lines = plan(spec)
    assert [one.uid for one in said] == [line.uid for line in lines]
    assert not list(tmp_path.rglob("*.mp4"))
    for split in ("train", "dev", "test"):
        with (tmp_path / f"{split}_sent_emo.csv").open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))
        own = [line for line in lines if line.split == split]
        assert tuple(rows[0]) == HEADER
        assert [row["Utterance"] for row in rows] == [line.text for line in own]
        assert [row["Emotion"] for row in rows] == [line.label for line in own]
        assert (rows[1]["StartTime"], rows[1]["EndTime"]) == ("00:00:02,000", "00:00:04,000")
        assert len({(row["Season"], row["Episode"], row["StartTime"]) for row in rows}) == len(rows)
