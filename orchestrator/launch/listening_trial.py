"""Ray Tune's way into the main thread of a trial's process, the only one where SIGTERM can be listened for."""

from __future__ import annotations

from typing import Any

from ray.train._internal.session import get_session

from orchestrator.launch.notice import listen

LAST_WORDS = 8.0
"""Seconds; Tune waits TUNE_FORCE_TRIAL_CLEANUP_S, 10, for a process that it ends."""


class ListeningTrial:
    """Mixed into the class that Tune makes of a trial's function, which runs in a thread of its own."""

    def setup(self, config: dict[str, Any]) -> None:
        listen()
        super().setup(config)  # type: ignore[misc]

    def cleanup(self) -> None:
        """Let a trial that is ended finish writing its checkpoint."""
        thread = get_session().training_thread
        try:
            super().cleanup()  # type: ignore[misc]
        finally:
            if thread.is_alive():
                thread.join(LAST_WORDS)
