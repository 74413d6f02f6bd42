"""`odqa serve`: the HTTP service and its page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from odqa.cli import options

if TYPE_CHECKING:
    from odqa.service import Keys, Settings


@click.command()
@click.option("--index", metavar="NAME", help="Serve this index instead of the recipe's.")
@options.pipeline
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    metavar="PORT",
    help="Port to listen at; 0 takes a free one.",
)
@click.option(
    "--device", metavar="DEVICE", help="Where the models run: cpu, cuda or cuda:1; without it a GPU if there is one."
)
@click.option(
    "--keys",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of NAME:read:SHA256 and NAME:write:SHA256 lines; more come from $ODQA_API_KEYS.",
)
@click.option(
    "--deadline",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Seconds that a request may take; 30 without it.",
)
@click.option(
    "--batch-tokens",
    type=click.IntRange(min=1),
    metavar="N",
    help="Estimated tokens of a micro-batch; 1: no batching; without it what suits the device.",
)
@click.option(
    "--queue-tokens",
    type=click.IntRange(min=1),
    metavar="N",
    help="Estimated tokens that may wait; 2,000,000 without it.",
)
@click.option(
    "--max-body",
    type=click.IntRange(min=1),
    metavar="BYTES",
    help="Size of a question's request; 2,000,000 without it.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Host name that the service answers to; may be given several times. Without it any, or the loopback's own.",
)
@click.option(
    "--cors-origin",
    "cors_origins",
    multiple=True,
    metavar="ORIGIN",
    help="Web site whose pages may call the service; may be given several times.",
)
@click.option("--log-questions", is_flag=True, help="Write the questions into the log.")
def serve(
    index: str | None, pipeline: str, host: str, port: int, device: str | None, keys: Path | None, **chosen: Any
) -> None:
    """Serve an index over HTTP: an API, and a page to ask from.

    The page is at /, the API's description at /docs. The log goes to stderr, a JSON object a line. Ctrl-C or SIGTERM
    ends the service once what it accepted is answered.
    """
    from odqa.service import Keys, journal
    from odqa.service.host import Loaded
    from odqa.service.server import bind
    from odqa.service.server import serve as run

    known = Keys.load(keys)
    settings = _settings(host, known, chosen)
    listener = bind(host, port)
    journal.to_stderr()
    click.echo(f"Ask at {_url(host, listener.getsockname()[1])} (Ctrl-C ends)")
    run(lambda: Loaded.load(pipeline, index=index, device=device), listener, settings=settings, keys=known)


def _settings(host: str, keys: Keys, chosen: dict[str, Any]) -> Settings:
    from odqa.service import Settings
    from odqa.service.settings import LOOPBACK_NAMES, is_loopback

    given = {name: value for name, value in chosen.items() if value not in (None, ())}
    if is_loopback(host):
        return Settings(**{**given, "allowed_hosts": LOOPBACK_NAMES + chosen["allowed_hosts"]})
    if not keys:
        click.echo(
            f"Warning: {host} can be reached from other machines and no API keys are set: whoever reaches it can "
            "ask. Set --keys, or listen at 127.0.0.1. Documents can't be changed over HTTP.",
            err=True,
        )
    return Settings(**{"allowed_hosts": (), **given, "open_writes": False})


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
