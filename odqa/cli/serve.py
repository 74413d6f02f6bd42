"""`odqa serve`: the HTTP service and its page."""

from __future__ import annotations

import re
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
    "--device",
    metavar="DEVICE",
    help="Where the models run: cuda, cuda:1, openvino or cpu; without it the first of them that there is.",
)
@click.option(
    "--keys",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of NAME:read:SHA256 and NAME:write:SHA256 lines; more come from $ODQA_API_KEYS. A key's SHA256: "
    "printf %s KEY | sha256sum",
)
@click.option(
    "--deadline",
    type=click.FloatRange(0, 3600, min_open=True),
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
    from odqa.index import store
    from odqa.recipes import load_pipeline
    from odqa.service import Keys, journal
    from odqa.service.host import Loaded
    from odqa.service.server import bind
    from odqa.service.server import serve as run

    known = Keys.load(keys)
    settings = _settings(host, known, chosen)
    store.existing(index or load_pipeline(pipeline).index)
    listener = bind(host, port)
    journal.to_stderr()
    click.echo(f"Ask at {_url(host, listener.getsockname()[1])} (Ctrl-C ends)")
    run(lambda: Loaded.load(pipeline, index=index, device=device), listener, settings=settings, keys=known)


def _settings(host: str, keys: Keys, chosen: dict[str, Any]) -> Settings:
    from odqa.service import Settings
    from odqa.service.settings import LOOPBACK_NAMES, is_loopback

    given = {name: value for name, value in chosen.items() if value not in (None, ())}
    if "allowed_hosts" in given:
        given["allowed_hosts"] = tuple(_host_name(name) for name in given["allowed_hosts"])
    if is_loopback(host):
        own = f"[{host}]" if ":" in host else host
        return Settings(**{**given, "allowed_hosts": (*LOOPBACK_NAMES, own, *given.get("allowed_hosts", ()))})
    if not keys:
        click.echo(
            f"Warning: {host} can be reached from other machines and no API keys are set: whoever reaches it can "
            "ask. Set --keys, or listen at 127.0.0.1. Documents can't be changed over HTTP.",
            err=True,
        )
    return Settings(**{"allowed_hosts": (), **given, "open_writes": False})


def _host_name(name: str) -> str:
    """A host name as requests are compared with it."""
    found = name.lower()
    if not re.fullmatch(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]", found):
        raise click.BadParameter(f'"{name}" is no host name: leave scheme and port out.', param_hint="--allowed-host")
    return found


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
