"""The command line. Each command lies in its own module, which is imported when it is called."""

import importlib
import sys
from typing import NoReturn

import click

from stepcell import __version__
from stepcell.cli.console import examples
from stepcell.errors import StepcellError

COMMANDS = (
    "inspect",
    "compress",
    "sensitivity",
    "compile",
    "run",
    "validate",
    "profile",
    "targets",
    "doctor",
)


class _Commands(click.Group):
    """Finds commands by name, and turns every mistake into a sentence, a hint and exit code 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"stepcell.cli.{cmd_name}_command")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except StepcellError as error:
            _fail(error.message, error.hint)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "stepcell"
            _fail(error.format_message(), f"`{command} --help` lists what is allowed.")


def _fail(message: str, hint: str) -> NoReturn:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True)
    console.print(Text("Error: ", style="bold red") + Text(message))
    console.print(Text("Hint: ", style="bold") + Text(hint))
    sys.exit(2)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=examples(
        "stepcell inspect kws.onnx",
        "stepcell compile kws.onnx -o kws_c --target cortex-m4 --calibration train.npz --density 0.25",
        "stepcell validate kws_c --data test.npz --on host,unicorn",
        "stepcell profile kws_c --on unicorn",
    ),
)
@click.version_option(__version__, prog_name="stepcell")
def main() -> None:
    """Trained recurrent networks (LSTM, GRU, RNN) as small, fast, proven C for microcontrollers."""
