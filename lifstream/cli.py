"""The ``lifstream`` command line."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lifstream.console import Output, error_line, interrupted, working
from lifstream.extras import missing_line
from lifstream.golden.contract.errors import InputError
from lifstream.sim.runner import SimulationDied

__all__ = ["COMMANDS", "app", "main"]

COMMANDS = {
    "train": ("accuracy:train", "Train a network in the golden model, exactly as the hardware learns."),
    "eval": ("accuracy:evaluate_model", "Accuracy of a model on the test set."),
    "compare": ("tables:compare", "Compare accuracy and cost of rules, numbers and published systems."),
    "sweep": ("tables:sweep", "Train over a grid of weight widths, rules, seeds and more."),
    "import": ("exchange:import_network", "Take a network over that was trained elsewhere (NIR)."),
    "export": ("exchange:export_network", "Write a network as a NIR graph, for other tools."),
    "events": ("exchange:bin_recordings", "Sort recordings of event sensors into time steps."),
    "verilog": ("hardware:verilog", "Generate a network's Verilog, and a bench."),
    "cosim": ("hardware:cosim", "Play images through the Verilog and compare everything."),
    "demo": ("hardware:demo", "Train, generate Verilog, co-simulate, write a report."),
    "estimate": ("estimate:estimate", "Estimate resources and clock cycles on a board, in seconds."),
    "explore": ("explore:explore", "Plot accuracy against a board's resources and speed."),
    "build": ("build:build", "Make a board's bitstream."),
    "program": ("build:program", "Load a bitstream into a board."),
    "play": ("play:play", "Draw to a chip and teach it, on a page in the browser."),
    "board": ("board:app", "Use a board on a serial port, or a simulated one."),
}
"""The commands in order: module and function (or group of commands), and a line of help. A command is imported when it
is called, not to be listed."""


class _Commands(TyperGroup):
    """The commands; an interrupt ends any of them with a line of what it leaves, and exit status 130."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        found = getattr(import_module(f"lifstream.{module}"), name)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False, rich_markup_mode=None)
            alone.command(cmd_name)(found)
            found = alone
        return typer.main.get_command(found)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

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
        from lifstream import __version__

        print(f"lifstream {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    _version: Annotated[bool, typer.Option(
        "--version", callback=_show_version, is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    Output.begin(context.invoked_subcommand or "start")


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
    except ModuleNotFoundError as error:
        if (line := missing_line(error.name)) is None:
            raise
        error_line(line)
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
