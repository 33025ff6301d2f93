"""Lines without control codes: one per change of a stage, per ended trial, and one every half minute between."""

from __future__ import annotations

import threading
from contextlib import suppress
from types import TracebackType
from typing import Literal, TextIO

from orchestrator.display import words
from orchestrator.display.board import Board, BoardSpec
from orchestrator.display.lines import reached, spread, stage_words
from orchestrator.events import STAGES, ModelRow, Observers, StageName, TrialRecord

BEAT_SECONDS = 30.0


class PlainDisplay(Observers):
    """An observer and a context manager; while entered, it says every `beat` seconds where things are."""

    def __init__(self, spec: BoardSpec, stream: TextIO, beat: float = BEAT_SECONDS) -> None:
        self.board = Board(spec)
        self.stream = stream
        self.beat = beat
        self._told: set[tuple[int, str]] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beats, name="orch-plain-display", daemon=True)
        super().__init__(self.board)

    def __enter__(self) -> PlainDisplay:
        self._say(self.board.spec.title)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def stage_skipped(self, stage: StageName, why: str) -> None:
        super().stage_skipped(stage, why)
        self._say(f"{stage}: skipped: {why}")

    def stage_started(self, stage: StageName, what: str) -> None:
        super().stage_started(stage, what)
        self._say(f"{stage}: started" + (f": {what}" if what else ""))

    def stage_finished(self, stage: StageName, seconds: float, note: str) -> None:
        super().stage_finished(stage, seconds, note)
        self._say(f"{stage}: done in {words.clock(seconds)}" + (f": {note}" if note else ""))

    def trial_changed(self, trial: TrialRecord) -> None:
        super().trial_changed(trial)
        if not trial.finished or (trial.number, trial.state) in self._told:
            return
        self._told.add((trial.number, trial.state))
        names = words.short_names(sorted(trial.params))
        told = trial.reason if trial.state == "failed" else words.params(trial.params, names)
        role = "" if trial.role == "search" else f" [{trial.role}]"
        epochs = f"epoch {trial.epochs}" if trial.epochs else "no epoch"
        if self.board.spec.folds and trial.reports:
            epochs = reached(trial, self.board.spec.folds)
        score = words.score(self.board.score(trial)).replace("–", "-")
        self._say(f"trial {trial.number}{role}: {trial.state}, {epochs}, score {score}; {told}".rstrip("; "))

    def model_confirmed(self, row: ModelRow) -> None:
        super().model_confirmed(row)
        self._say(f"confirmed {row.name}: test {spread(row)}")

    def message(self, text: str, level: Literal["info", "warning"] = "info") -> None:
        self._say(f"warning: {text}" if level == "warning" else text)

    def tell(self) -> None:
        """One line on what runs now; nothing where nothing does."""
        with self.board.lock:
            for name in STAGES:
                if self.board.stages[name].state == "running":
                    self._say(f"{name}: {stage_words(self.board, name) or 'running'}")

    def _beats(self) -> None:
        while not self._stop.wait(self.beat):
            self.tell()

    def _say(self, text: str) -> None:
        passed = words.clock(self.board.clock() - self.board.began)
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        clean = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
        line = f"[{passed:>5}] {clean}".encode(encoding, "replace").decode(encoding)
        with suppress(OSError):  # nobody reads any more; that is no reason to end a sweep
            print(line, file=self.stream, flush=True)
