"""The command line. Results go to stdout, talk to stderr; exit codes: 0 done, 1 failed, 2 wrong use, 130 Ctrl-C."""

from __future__ import annotations

import os
import sys

import click

from odqa import __version__
from odqa.cli.ask import ask
from odqa.cli.bench import bench
from odqa.cli.calibrate import calibrate
from odqa.cli.doctor import doctor
from odqa.cli.evaluate import evaluate, reproduce
from odqa.cli.index import index
from odqa.cli.pipeline import pipeline
from odqa.cli.read import read
from odqa.cli.serve import serve
from odqa.cli.train import train
from odqa.errors import OdqaError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="odqa")
def odqa() -> None:
    """Answer questions from your own documents with the exact span, or say that there is no answer."""


for _command in (ask, read, serve, index, pipeline, doctor, evaluate, reproduce, train, calibrate, bench):
    odqa.add_command(_command)


def main() -> None:
    """Run the command line and exit."""
    try:
        code = run()
        sys.stdout.flush()
    except BrokenPipeError:  # `odqa ... | head` ends quietly, as other programs do
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def run() -> int:
    """Run the command line in this process and return its exit code."""
    from odqa import progress

    try:
        with progress.bars(sys.stderr.isatty()):
            code = odqa.main(standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except OdqaError as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    except (click.Abort, KeyboardInterrupt):
        click.echo("", err=True)
        return 130
