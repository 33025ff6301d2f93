"""What every command shares: one line for an error, the traceback only with --debug, a clean Ctrl-C."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from orchestrator.interrupts import terminable
from trainables.errors import OrchError

INTERRUPTED = 130


class Commands(TyperGroup):
    """Turns every exception into one line on stderr and an exit code: 2 the user's, 1 ours, 130 interrupted."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with terminable():
                return super().invoke(ctx)
        except OrchError as error:
            raise _told(ctx, f"error: {_line(error)}", error.exit_code) from None
        except KeyboardInterrupt:
            raise _told(ctx, "interrupted; everything done so far is kept", INTERRUPTED) from None
        except BrokenPipeError:  # `orch show ... | head` is no error of anybody's
            sys.stderr.close()
            raise typer.Exit(0) from None
        except OSError as error:  # a disk that is full, a folder that is a file: the machine's, and it says which
            raise _told(ctx, f"error: {_place(error)}; `orch doctor` checks the places in use", 1) from None
        except Exception as error:
            if type(error).__module__.startswith(("click", "typer")):
                raise
            fault = f"error: {type(error).__name__}: {_line(error)} (a fault of ours; --debug before the command"
            raise _told(ctx, f"{fault} shows where)", 1) from None


def _told(ctx: Any, line: str, code: int) -> typer.Exit:
    if ctx.params.get("debug"):
        traceback.print_exc()
    typer.echo(line, err=True)
    return typer.Exit(code)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _place(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else _line(error)


def _print_version(wanted: bool) -> None:
    if wanted:
        from orchestrator import __version__

        typer.echo(f"orch {__version__}")
        raise typer.Exit


def version_option(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options before the command; `--debug` is read by `Commands`."""
