"""The live display: five stages and the trials that matter, redrawn in place four times a second at most."""

from __future__ import annotations

from types import TracebackType
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.display import words
from orchestrator.display.board import Board, BoardSpec, StageView
from orchestrator.display.lines import ROWS, reached, shown_trials, spread, stage_words, varying
from orchestrator.events import STAGES, Observers, TrialRecord

_STYLES = {"running": "cyan", "completed": "green", "pruned": "yellow", "failed": "red", "queued": "dim"}
_MARKS = {"waiting": ("·", "dim"), "running": ("●", "cyan"), "done": ("✓", "green"), "skipped": ("–", "dim")}
_ASCII = {"waiting": ".", "running": "*", "done": "+", "skipped": "-"}


class LiveDisplay(Observers):
    """An observer and a context manager; what is on the screen at the end stays there."""

    def __init__(self, spec: BoardSpec, console: Console) -> None:
        self.board = Board(spec)
        self.console = console
        self.live = Live(get_renderable=self.render, console=console, refresh_per_second=4, transient=False)
        super().__init__(self.board)

    def __enter__(self) -> LiveDisplay:
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def message(self, text: str, level: Literal["info", "warning"] = "info") -> None:
        style = "yellow" if level == "warning" else ""
        self.console.print(Text(f"warning: {text}" if level == "warning" else text, style=style))

    def render(self) -> RenderableType:
        with self.board.lock:
            parts: list[RenderableType] = [self._head(), self._stages()]
            if self.board.trials and self.board.stages["confirm"].state == "waiting":
                parts.append(self._trials())
            if self.board.models:
                parts.append(self._models())
            return Group(*parts)

    def _head(self) -> RenderableType:
        head = Table.grid(expand=True)
        head.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        head.add_column(justify="right")
        passed = self.board.clock() - self.board.began
        head.add_row(Text(self.board.spec.title, style="bold"), words.clock(passed))
        return head

    def _stages(self) -> Table:
        table = Table.grid(padding=(0, 1), expand=True)
        for _ in range(2):
            table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True, min_width=5)
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        plain = not self.console.encoding.startswith("utf")
        for name in STAGES:
            view = self.board.stages[name]
            mark, style = _MARKS[view.state]
            table.add_row(
                Text(_ASCII[view.state] if plain else mark, style=style),
                Text(name, style="bold" if view.state == "running" else ""),
                self._seconds(view),
                Text(stage_words(self.board, name), style="dim" if view.state == "skipped" else ""),
            )
        return table

    def _seconds(self, view: StageView) -> str:
        if view.state == "running":
            return words.clock(self.board.clock() - view.started)
        return words.clock(view.seconds) if view.state == "done" else ""

    def _trials(self) -> Table:
        table = Table(box=None, padding=(0, 1, 0, 0), expand=True, header_style="dim")
        table.add_column("trial", justify="right", no_wrap=True)
        table.add_column("state", no_wrap=True, min_width=9)
        table.add_column("epoch", justify="right", no_wrap=True)
        table.add_column("score", justify="right", no_wrap=True)
        table.add_column("parameters, or why it failed", ratio=1, no_wrap=True, overflow="ellipsis")
        best = self.board.best()
        shown = shown_trials(self.board, best)
        names = words.short_names(varying(shown))
        for trial in shown:
            score = Text(words.score(self.board.score(trial)), style="bold" if trial is best else "")
            number = f"{'*' if trial is best else ''}{trial.number}"
            told = trial.reason if trial.state == "failed" else _told(trial, names)
            state = Text(trial.state, style=_STYLES[trial.state])
            table.add_row(number, state, reached(trial, self.board.spec.folds), score, Text(told))
        return table

    def _models(self) -> Table:
        table = Table(box=None, padding=(0, 1, 0, 0), expand=True, header_style="dim")
        table.add_column("confirmed", ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column("test score", justify="right", no_wrap=True)
        for row in self.board.models[-ROWS:]:
            table.add_row(Text(row.name), spread(row))
        return table


def _told(trial: TrialRecord, names: dict[str, str]) -> str:
    role = "" if trial.role == "search" else f"[{trial.role}] "
    differing = {path: value for path, value in trial.params.items() if path in names}
    return role + words.params({**trial.overrides, **differing}, names)
