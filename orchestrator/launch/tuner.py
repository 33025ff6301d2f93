"""Tune's loop in this process, also where it is a Ray client.

Of itself a client sends the whole Tuner to the head, where our journal, display and signal handlers are not. Tune
itself has no need of that: but for the folder of a Ray session, which a client has not, it runs here as well.
"""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import Any

CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")


def fit_here(trainable: Any, **given: Any) -> None:
    """`tune.Tuner(trainable, **given).fit()`."""
    from ray import tune
    from ray.tune.execution import class_cache
    from ray.util.client import ray as client

    # Tune would send the driver's keys along in the trials' runtime environment, which Ray logs on every node. Each
    # node has credentials of its own.
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(CREDENTIALS)
    if not client.is_connected():
        tune.Tuner(trainable, **given).fit()
        return
    from ray.train._internal import storage
    from ray.tune.impl.tuner_internal import TunerInternal

    before = storage._get_ray_train_session_dir
    with TemporaryDirectory(prefix="orch-tune-", ignore_cleanup_errors=True) as folder:
        storage._get_ray_train_session_dir = lambda: folder
        try:
            TunerInternal(trainable=trainable, _tuner_kwargs={"_remote": False}, **given).fit()
        finally:
            storage._get_ray_train_session_dir = before
