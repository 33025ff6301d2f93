"""What a sweep looks like: the board behind both displays, the live one, the plain one, and the tables."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orchestrator.display import words
from orchestrator.display.board import Board, BoardSpec
from orchestrator.display.choose import console, display, is_terminal, only_document
from orchestrator.display.lines import ROWS, reached, shown_trials, stage_words, varying
from orchestrator.display.live import LiveDisplay
from orchestrator.display.plain import PlainDisplay
from orchestrator.display.progress import counting
from orchestrator.events import Observer, Observers, Report, TrialRecord, TrialState
from tests.helpers.sweeps import row, trial

SPEC = BoardSpec("orch sweep small", trials=6)
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\x9b]")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Screen(io.StringIO):
    """A stream that says whether it is a terminal."""

    def __init__(self, *, terminal: bool, encoding: str = "utf-8") -> None:
        super().__init__()
        self.terminal = terminal
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture
def board() -> Board:
    return Board(SPEC, clock=Clock())


def a_sweep(observer: Observer) -> None:
    """One of everything that may happen."""
    observer.message("scale laptop")
    observer.message("these numbers are not MELD's", "warning")
    observer.stage_skipped("prepare", "corpora/0123 is there")
    observer.stage_started("teach", "audio, text")
    observer.stage_progress("teach", 1, 3, "text: epoch 2/6")
    observer.stage_finished("teach", 61.2, "fusion 0.560")
    observer.stage_started("harvest", "")
    observer.stage_finished("harvest", 6.0, "")
    observer.stage_started("sweep", "6 trials")
    far = 4e9
    observer.trial_changed(trial(0, "running", role="default", started=far))
    observer.trial_reported(trial(0, "running", (0.4,), role="default", started=far), Report(epoch=1, metrics={}))
    observer.trial_changed(trial(0, "completed", (0.4, 0.5), role="default", started=far, ended=far + 9))
    observer.trial_changed(trial(1, "failed", (0.3,), reason="[Errno 5] lost", started=far, ended=far + 3))
    observer.trial_changed(trial(2, "pruned", (0.2,), started=far, ended=far + 5))
    observer.trial_changed(trial(3, "running", (0.55,), started=far))


def test_the_board_follows_the_stages(board: Board) -> None:
    assert {view.state for view in board.stages.values()} == {"waiting"}
    a_sweep(board)
    states = {name: view.state for name, view in board.stages.items()}
    assert states == {
        "prepare": "skipped",
        "teach": "done",
        "harvest": "done",
        "sweep": "running",
        "confirm": "waiting",
    }
    assert (board.stages["teach"].seconds, board.stages["teach"].note) == (61.2, "fusion 0.560")
    assert stage_words(board, "prepare") == "skipped: corpora/0123 is there"
    assert (board.finished, board.total, board.count("failed")) == (3, 6, 1)


def test_progress_of_a_stage_is_told_with_its_note(board: Board) -> None:
    board.stage_started("teach", "audio, text")
    assert stage_words(board, "teach") == "audio, text"
    board.stage_progress("teach", 1, 3, "text: epoch 2/6")
    assert stage_words(board, "teach") == "1/3 text: epoch 2/6"


def test_the_best_is_by_the_objective_and_counts_running_trials(board: Board) -> None:
    assert board.best() is None
    board.trial_changed(trial(0, "completed", (0.5,)))
    board.trial_changed(trial(1, "running", (0.6, 0.55)))
    board.trial_changed(trial(2, "failed", (0.9,)))
    board.trial_changed(trial(3, "queued"))
    best = board.best()
    assert best is not None
    assert (best.number, board.score(best)) == (1, 0.6)


def test_where_less_is_better_the_best_is_the_least() -> None:
    board = Board(BoardSpec("t", metric="latency_ms", highest=False))
    for number, value in enumerate((3.0, 1.0, 2.0)):
        board.trial_changed(trial(number).model_copy(update={"values": {"latency_ms": value}}))
    best = board.best()
    assert best is not None
    assert best.number == 1


def test_epochs_of_representation_have_no_score(board: Board) -> None:
    early = trial(0, "running", (0.9, 0.8), phases=(0, 0))
    assert board.score(early) is None
    assert board.score(trial(0, "running", (0.9, 0.4), phases=(0, 1))) == 0.4


@pytest.mark.parametrize(
    ("ended", "running", "expected"),
    [
        ((), (), None),
        ((10.0, 20.0), (), 60.0),  # 4 trials wait, 15 s each, one at a time
        ((10.0,), (6.0, 2.0), 21.0),  # 4 s and 8 s of the running two, 3 wait: 42 s over 2
        ((10.0,), (25.0,), 40.0),  # the running one is overdue: only the 4 that wait count
    ],
)
def test_time_left(
    board: Board, ended: tuple[float, ...], running: tuple[float, ...], expected: float | None
) -> None:
    now = board.clock()
    for number, seconds in enumerate(ended):
        board.trial_changed(trial(number, started=now - 100, ended=now - 100 + seconds))
    for number, seconds in enumerate(running, len(ended)):
        board.trial_changed(trial(number, "running", started=now - seconds))
    assert board.seconds_left() == expected


def test_rows_go_to_the_best_the_running_and_the_latest(board: Board) -> None:
    for number in range(20):
        board.trial_changed(trial(number, scores=(0.9 if number == 3 else 0.1,), started=1, ended=100.0 - number))
    board.trial_changed(trial(20, "running", started=50))
    shown = [one.number for one in shown_trials(board, board.best())]
    assert shown == [3, 14, 15, 16, 17, 18, 19, 20]
    assert len(shown) == ROWS


def test_parameters_that_are_the_same_everywhere_are_left_out() -> None:
    trials = [trial(n, params={"method.phases": "joint", "training.learning_rate": n / 10}) for n in (1, 2)]
    assert varying(trials) == ["training.learning_rate"]
    assert varying(trials[:1]) == ["method.phases", "training.learning_rate"]


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_display_fits_the_width(width: int) -> None:
    stream = io.StringIO()
    shown = LiveDisplay(SPEC, Console(file=stream, width=width, force_terminal=False, color_system=None))
    a_sweep(shown)
    shown.console.print(shown.render())
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    text = "\n".join(line.rstrip() for line in lines)
    for wanted in (
        "warning: these numbers are not MELD's",
        "skipped: corpora/0123 is there",
        "1:01 fusion 0.560",
        "3/6 trials (1 failed), best 0.550 by trial 3, about 20 s left",
        "*3 running       1 0.550 lr=0.004",
        "[default] lr=0.001",
        "[Errno 5] lost",
    ):
        assert wanted in text
    assert len(lines) <= 2 + 1 + 5 + 1 + ROWS


def folded(number: int, *scores: float, state: TrialState = "running", **rest: Any) -> TrialRecord:
    """A trial of folds of two epochs, told epoch by epoch; a score of 0 is the mere end of its fold."""
    reports = [
        Report(
            epoch=step,
            metrics={"fold": float((step - 1) // 2)}
            | ({"dev/weighted_f1": s, "epoch": (step - 1) % 2 + 1.0} if s else {"ended_at": 1.0}),
        )
        for step, s in enumerate(scores, 1)
    ]
    return trial(number, state, **rest).model_copy(update={"reports": reports})


def test_the_score_over_folds_is_the_mean_of_their_best(board: Board) -> None:
    assert board.score(folded(0, 0.5, 0.25)) == 0.5
    assert board.score(folded(0, 0.5, 0.25, 0.125)) == 0.3125
    assert board.score(folded(0, 0.5, 0.0, 0.25, 0.75)) == 0.625


@pytest.mark.parametrize(
    ("scores", "told"),
    [((), ""), ((0.5,), "fold 1/3, 1"), ((0.5, 0.0), "fold 1/3, 1"), ((0.5, 0.6, 0.7, 0.8), "fold 2/3, 2")],
)
def test_a_trial_over_folds_tells_its_fold_and_its_epoch(scores: tuple[float, ...], told: str) -> None:
    assert reached(folded(0, *scores), 3) == told
    assert reached(trial(0, "running", (0.1, 0.2)), 0) == "2"


@pytest.mark.parametrize("width", [80, 120])
def test_both_displays_show_where_a_trial_over_folds_is(width: int) -> None:
    stream, spec = io.StringIO(), BoardSpec("orch sweep small", trials=6, folds=3)
    shown = LiveDisplay(spec, Console(file=stream, width=width, force_terminal=False, color_system=None))
    shown.trial_changed(folded(0, 0.5, 0.25, 0.75, started=1.0))
    shown.console.print(shown.render())
    assert re.search(r"\*0 running +fold 2/3, 1 0\.625 lr=0\.001", stream.getvalue())
    assert max(map(len, stream.getvalue().splitlines())) <= width
    plain = PlainDisplay(spec, lines := Screen(terminal=False))
    far = 4e9
    plain.trial_changed(folded(1, 0.5, 0.25, 0.75, state="pruned", reason="asha", started=far, ended=far + 1))
    assert "trial 1: pruned, fold 2/3, 1, score 0.625" in lines.getvalue()


def test_the_live_display_ends_with_the_confirmed_models() -> None:
    stream = io.StringIO()
    shown = LiveDisplay(SPEC, Console(file=stream, width=80, color_system=None))
    a_sweep(shown)
    shown.stage_started("confirm", "")
    shown.model_confirmed(row("trial-0004", "best", 0.561))
    shown.console.print(shown.render())
    assert re.search(r"trial-0004 +0\.561 ± 0\.010", stream.getvalue())
    assert "lr=" not in stream.getvalue()


def test_the_live_display_draws_a_handful_of_frames_a_second() -> None:
    shown = LiveDisplay(SPEC, Console(file=io.StringIO(), force_terminal=True))
    assert shown.live.refresh_per_second <= 4


def test_a_terminal_without_unicode_gets_ascii_marks() -> None:
    stream = Screen(terminal=True, encoding="ascii")
    shown = LiveDisplay(BoardSpec("title"), Console(file=stream, width=80, color_system=None))
    shown.stage_started("teach", "")
    shown.console.print(shown._stages())
    assert stream.getvalue().isascii()


def plain_lines(feed: Callable[[Observer], None], **kind: Any) -> list[str]:
    stream = Screen(terminal=False, **kind)
    with PlainDisplay(SPEC, stream) as shown:
        feed(shown)
    return stream.getvalue().splitlines()


def test_plain_lines_tell_each_change_once_and_have_no_control_codes() -> None:
    lines = plain_lines(a_sweep)
    assert [line[8:] for line in lines] == [
        "orch sweep small",
        "scale laptop",
        "warning: these numbers are not MELD's",
        "prepare: skipped: corpora/0123 is there",
        "teach: started: audio, text",
        "teach: done in 1:01: fusion 0.560",
        "harvest: started",
        "harvest: done in 0:06",
        "sweep: started: 6 trials",
        "trial 0 [default]: completed, epoch 2, score 0.500; lr=0.001",
        "trial 1: failed, epoch 1, score -; [Errno 5] lost",
        "trial 2: pruned, epoch 1, score 0.200; lr=0.003",
    ]
    assert not CONTROL.search("\n".join(lines))


def test_trials_that_ended_before_this_start_are_counted_and_not_told_again(board: Board) -> None:
    known = trial(0, "completed", (0.7,), started=4e9, ended=4e9 + 9)
    assert len(plain_lines(lambda o: o.trial_known(known))) == 1
    Observers(board).trial_known(known)
    assert (board.finished, board.best()) == (1, known)


def test_plain_lines_keep_control_codes_of_others_to_one_line() -> None:
    assert plain_lines(lambda o: o.message("two\nlines\tand \x1b[31mred"))[1].endswith("two lines and [31mred")


def test_plain_lines_survive_a_narrow_encoding_and_a_closed_pipe() -> None:
    stream = Screen(terminal=False, encoding="ascii")
    shown = PlainDisplay(SPEC, stream)
    shown.model_confirmed(row("a", "best", 0.5))
    assert "0.500 ? 0.010" in stream.getvalue()

    class Closed(Screen):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    PlainDisplay(SPEC, Closed(terminal=False)).message("unheard")


def test_between_changes_a_line_says_what_runs() -> None:
    stream = Screen(terminal=False)
    shown = PlainDisplay(SPEC, stream)
    shown.tell()
    assert stream.getvalue() == ""
    a_sweep(shown)
    shown.tell()
    assert (
        stream.getvalue()
        .splitlines()[-1]
        .endswith("sweep: 3/6 trials (1 failed), best 0.550 by trial 3, about 20 s left")
    )


def test_the_beat_ends_with_the_display() -> None:
    stream = Screen(terminal=False)
    with PlainDisplay(SPEC, stream, beat=0.01) as shown:
        shown.stage_started("teach", "audio")
        shown._stop.wait(0.2)
    assert sum("teach: audio" in line for line in stream.getvalue().splitlines()) >= 2
    assert not shown._thread.is_alive()


@pytest.mark.parametrize(
    ("terminal", "term", "plain", "kind"),
    [
        (True, "xterm", False, LiveDisplay),
        (True, "xterm", True, PlainDisplay),
        (True, "dumb", False, PlainDisplay),
        (True, "", False, PlainDisplay),
        (False, "xterm", False, PlainDisplay),
    ],
)
def test_which_display(
    terminal: bool, term: str, plain: bool, kind: type[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert type(display(SPEC, Screen(terminal=terminal), plain=plain)) is kind


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_no_color_is_respected(no_color: str, coloured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    stream = Screen(terminal=True)
    assert is_terminal(stream)
    console(stream).print("x", style="red")
    assert ("\x1b[31m" in stream.getvalue()) is coloured


def test_only_the_document_reaches_stdout() -> None:
    code = """if True:
        import os, subprocess, sys
        from orchestrator.display.choose import only_document
        with only_document() as out:
            print("a print of somebody's")
            os.write(1, b"a write of a C library\\n")
            subprocess.run([sys.executable, "-c", "print('a child')"])
            print('{"a": 1}', file=out)
        print("afterwards")
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ['{"a": 1}', "afterwards"]
    assert sorted(done.stderr.splitlines()) == ["a child", "a print of somebody's", "a write of a C library"]


def test_only_the_document_is_given_the_stream_that_stands_in_for_stdout(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with only_document() as out:
        print("chatter")
        print("document", file=out)
    assert capsys.readouterr() == ("document\n", "chatter\n")


def test_progress_without_a_terminal_is_a_line_every_tenth() -> None:
    stream = Screen(terminal=False)
    with counting("prepare meld", stream, live=False) as progress:
        for done in range(501):
            progress(done, 500)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[-1].endswith("prepare meld: 500/500")


@pytest.mark.parametrize(
    ("function", "given", "expected"),
    [
        (words.clock, 0.4, "0:00"),
        (words.clock, 59.6, "1:00"),
        (words.clock, 3_725, "1:02:05"),
        (words.roughly, 3, "10 s"),
        (words.roughly, 61, "70 s"),
        (words.roughly, 600, "10 min"),
        (words.roughly, 12_000, "3 h 20 min"),
        (words.count, 999, "999"),
        (words.count, 34_120, "34.1 k"),
        (words.count, 1_270_000, "1.27 M"),
        (words.count, 94_371_712, "94.4 M"),
        (words.number, 0.00123456, "0.00123"),
        (words.number, 1e-5, "1e-5"),
        (words.number, True, "True"),
        (words.number, 3, "3"),
        (words.score, None, "–"),
        (words.score, 0.12345, "0.123"),
    ],
)
def test_short_forms(function: Callable[[Any], str], given: Any, expected: str) -> None:
    assert function(given) == expected


def test_short_names_are_distinct() -> None:
    paths = ["method.cross_weight.start", "method.contrast_width", "student.width", "method.temperature.shape"]
    names = words.short_names([*paths, "training.learning_rate"])
    assert len(set(names.values())) == 5
    assert words.short_names(["training.learning_rate", "method.temperature.start"]) == {
        "training.learning_rate": "lr",
        "method.temperature.start": "temp",
    }


def test_the_pipeline_may_hand_over_any_folder(tmp_path: Path) -> None:
    """Text of others is never read as markup."""
    stream = io.StringIO()
    shown = LiveDisplay(SPEC, Console(file=stream, width=120, color_system=None))
    shown.stage_skipped("prepare", "[/bold] is there")
    shown.trial_changed(trial(0, "failed", reason="[/red] broke"))
    shown.message("[/nothing]")
    shown.console.print(shown.render())
    assert all(text in stream.getvalue() for text in ("[/bold] is there", "[/red] broke", "[/nothing]"))
