"""One thread a test process, before torch is imported: small tensors lose more to waiting than they gain."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
