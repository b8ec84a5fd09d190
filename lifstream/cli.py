"""The ``lifstream`` command line."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lifstream import __version__, accuracy, board, build, exchange, hardware, tables
from lifstream.console import Output, error_line, interrupted, working
from lifstream.golden.contract.errors import InputError
from lifstream.sim.runner import SimulationDied

__all__ = ["app", "main"]


class _Commands(TyperGroup):
    """The commands; an interrupt ends any of them with a line of what it leaves, and exit status 130."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            interrupted()
            raise typer.Exit(130) from None


app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=False, rich_markup_mode=None,
                  pretty_exceptions_enable=False, help="Spiking-network hardware that learns on chip, bit-exact with "
                                                      "its golden model.")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"lifstream {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    _version: Annotated[bool, typer.Option(
        "--version", callback=_show_version, is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    Output.begin(context.invoked_subcommand or "start")


app.command()(accuracy.train)
app.command("eval")(accuracy.evaluate_model)
app.command()(tables.compare)
app.command()(tables.sweep)
app.command("import")(exchange.import_network)
app.command("export")(exchange.export_network)
app.command("events")(exchange.bin_recordings)
app.command()(hardware.verilog)
app.command()(hardware.cosim)
app.command()(hardware.demo)
app.command()(build.build)
app.command()(build.program)
app.add_typer(board.app, name="board")

# Typer carries its own copy of click in some versions; its exceptions are reached through typer.
_UsageProblem: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def main() -> None:
    """Entry point: one-line errors, exit status 2 for bad input, 130 for an interrupt."""
    command = typer.main.get_command(app)
    try:
        with working():
            status = command(standalone_mode=False)
        sys.stdout.flush()
    except InputError as error:
        error_line(str(error))
        status = 2
    except SimulationDied as error:
        error_line(str(error))
        status = 1
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except OSError as error:  # a full disk, a device that went away
        error_line(f"{error.filename or 'input or output'}: {error.strerror or error}")
        status = 2
    except MemoryError:
        error_line("this does not fit into the memory of this machine")
        status = 2
    except _UsageProblem as error:
        status = 2
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error)
        else:
            message = " ".join(error.format_message().split()).rstrip(".")
            context = getattr(error, "ctx", None)
            error_line(f"{message}; see '{context.command_path if context else 'lifstream'} --help'")
    except (KeyboardInterrupt, typer.Abort):
        interrupted()
        status = 130
    sys.exit(status if isinstance(status, int) else 0)
