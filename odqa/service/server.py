"""The web server: binds the address, runs the application, ends in peace."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable

import uvicorn

from odqa.errors import ConfigError, OdqaError
from odqa.service.app import create_app
from odqa.service.host import Loaded
from odqa.service.keys import Keys
from odqa.service.settings import Settings

_GRACE = 5


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens at the address; port 0 takes a free one.

    Raises:
        ConfigError: the address is taken, not of this machine, or not allowed.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"Can't listen at {host}, port {port}: {error}") from None


def serve(load: Callable[[], Loaded], listener: socket.socket, *, settings: Settings, keys: Keys) -> None:
    """Serve until the process is told to end; what was accepted is answered first.

    Raises:
        OdqaError: models or index can't be loaded.
    """
    failed: list[Exception] = []

    def on_failure(error: Exception) -> None:
        failed.append(error)
        server.should_exit = True

    app = create_app(load, settings=settings, keys=keys, on_failure=on_failure)
    server = uvicorn.Server(_config(app, settings))
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again once all is answered
    try:
        server.run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, before)
    if failed:
        raise failed[0] if isinstance(failed[0], OdqaError) else OdqaError(f"Loading failed: {failed[0]}")


def _config(app: object, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(settings.deadline) + _GRACE,
    )
