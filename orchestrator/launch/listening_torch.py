"""Ray Train's way into the main thread of a worker, the only one where SIGTERM can be listened for."""

from __future__ import annotations

from typing import Any

from ray.train.torch import TorchConfig
from ray.train.torch.config import _TorchBackend

from orchestrator.launch.notice import listen


class _ListeningBackend(_TorchBackend):  # type: ignore[misc]
    def on_training_start(self, worker_group: Any, backend_config: Any) -> None:
        super().on_training_start(worker_group, backend_config)
        worker_group.execute(listen)


class ListeningTorch(TorchConfig):  # type: ignore[misc]
    """Torch's process group among the workers of Ray Train, each of which listens."""

    @property
    def backend_cls(self) -> type[_ListeningBackend]:
        return _ListeningBackend
