"""A minute of a store that refuses or hangs: nobody who waits loses anything, and nothing is written twice over."""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import pytest

from tests.helpers.services.proxy import FaultProxy
from tests.helpers.services.s3 import S3Server
from trainables.storage import Storage

OUTAGE = 60.0
LARGE = 20 * 2**20


def work(storage: Storage, number: int, until: float, folder: Path) -> int:
    """Writes, lists, reads back and removes until the clock says so; how many rounds it made."""
    rounds = 0
    local = folder / f"{number}"
    while time.time() < until or rounds < 3:
        key, data = f"{number}/{rounds}", os.urandom(1000 + rounds)
        assert storage.create(key, data)
        assert not storage.create(key, b"another")
        if rounds == 1:
            local.write_bytes(os.urandom(LARGE))
            storage.upload(local, f"{number}/large")
            assert storage.download(f"{number}/large", folder / f"{number}-back").read_bytes() == local.read_bytes()
        assert storage.read_bytes(key) == data
        assert [info.size for info in storage.list(str(number)) if info.key == key] == [len(data)]
        if rounds % 2:
            storage.remove(f"{number}/{rounds - 1}")
            assert not storage.exists(f"{number}/{rounds - 1}")
        rounds += 1
        time.sleep(0.2)
    return rounds


@pytest.mark.parametrize("kind", ["status", "hang"])
def test_four_processes_outlast_a_minute_without_the_store(
    kind: str, s3_environment: S3Server, bucket: str, s3_proxy: FaultProxy, tmp_path: Path
) -> None:
    storage = Storage(f"s3://{bucket}/root")
    storage.write_text("there", "data")
    began = time.time()
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(work, storage, number, began + 3 + OUTAGE, tmp_path) for number in range(4)]
        time.sleep(3)
        s3_proxy.fault(kind, seconds=OUTAGE)  # type: ignore[arg-type]
        lost = time.time()
        rounds = [job.result(timeout=400) for job in as_completed(jobs)]
    assert time.time() - lost >= OUTAGE - 1
    assert min(rounds) >= 3
    removed = sum(made // 2 for made in rounds)
    assert len(s3_environment.objects(bucket)) == 1 + 4 + sum(rounds) - removed
    assert "Uploads" not in s3_environment.client().list_multipart_uploads(Bucket=bucket)
