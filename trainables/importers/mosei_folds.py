"""The official split of CMU-MOSEI, by video: 2249, 300 and 678 of them.

`mosei_folds.csv` repeats the lists of `cmu_mosei_std_folds.py` in CMU-MultiComp-Lab/CMU-MultimodalSDK (MIT), there
called train, valid and test. Two videos of test have no labels in `CMU_MOSEI_Labels.csd` (7l3BNtSE0xc and
dZFV0lyedX4), and 66 of those that have are in no list (issue 256 of the SDK).
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

VIDEOS = {"train": 2249, "dev": 300, "test": 678}


@cache
def official_split() -> dict[str, str]:
    """video -> train, dev or test."""
    with Path(__file__).with_suffix(".csv").open(encoding="ascii", newline="") as file:
        return {row["video"]: row["split"] for row in csv.DictReader(file)}
