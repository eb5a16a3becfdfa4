"""The command group: lazy commands, and errors as one line on standard error."""

import io
import os
import sys

import click

from leechcodec.apps.messages import reason


class Commands(click.Group):
    """Errors become one line on standard error and exit code 1, never a traceback.

    (LEECHCODEC_TRACEBACK=1 in the environment shows where an unforeseen one came from.)
    The laboratory's commands are imported when one of them, or the list of all, is asked for.
    """

    def list_commands(self, context: click.Context) -> list[str]:
        from leechcodec.apps.cli.laboratory import COMMANDS

        return [*super().list_commands(context), *COMMANDS]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if command := super().get_command(context, name):
            return command
        from leechcodec.apps.cli.laboratory import COMMANDS

        return COMMANDS.get(name)

    def invoke(self, context: click.Context):
        if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
            sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be Unicode
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            sys.exit(130)
        except (BrokenPipeError, click.ClickException, click.exceptions.Exit, click.Abort):
            raise  # click's own: usage errors exit 2, a closed pipe ends quietly
        except Exception as error:
            message = reason(error)
            if message is None:
                if os.environ.get("LEECHCODEC_TRACEBACK"):
                    raise
                message = f"internal error: {type(error).__name__}: {error}"
            note(message)
            sys.exit(1)


def note(message: str) -> None:
    """Print one line on standard error."""
    click.echo(f"leechcodec: {' '.join(message.split())}", err=True)
