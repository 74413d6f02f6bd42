"""A real server over a real socket, in a thread of this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI

from odqa.service.server import _config, bind
from odqa.service.settings import Settings

ASK = "/v1/ask"


@dataclass(frozen=True)
class Served:
    url: str
    server: uvicorn.Server
    thread: threading.Thread

    def request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        return httpx2.request(method, self.url + path, timeout=30, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> httpx2.Response:
        return httpx2.post(self.url + path, json=body, timeout=30, **options)

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return httpx2.get(self.url + path, timeout=30, **options)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(30)


@contextmanager
def serving(app: FastAPI, *, ready: bool = True) -> Iterator[Served]:
    listener = bind("127.0.0.1", 0)
    server = uvicorn.Server(_config(app, Settings(deadline=5)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    served = Served(f"http://127.0.0.1:{listener.getsockname()[1]}", server, thread)
    try:
        until(lambda: server.started and (not ready or served.get("/readyz").status_code == 200))
        yield served
    finally:
        served.stop()


def until(condition: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)
