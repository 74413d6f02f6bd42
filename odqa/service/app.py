"""The application: routes, keys, page and errors put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

import odqa
from odqa.service import page, replies
from odqa.service.documents import Writer
from odqa.service.host import Host, Loaded
from odqa.service.keys import Keys
from odqa.service.metrics import Metrics
from odqa.service.routes import Service, api, documents, operations
from odqa.service.settings import Settings
from odqa.service.shell import Shell

_DESCRIPTION = "Answers questions from your own documents with the exact span, or says that there is no answer."


def create_app(
    load: Callable[[], Loaded],
    *,
    settings: Settings | None = None,
    keys: Keys | None = None,
    on_failure: Callable[[Exception], None] | None = None,
) -> FastAPI:
    """Make the ASGI application of one index.

    Args:
        load: Loads models and index, in a thread, once the application starts.
        settings: How to serve; the defaults where None.
        keys: Who may ask and who may write; everybody may ask where there are none.
        on_failure: Told why, where loading fails.
    """
    settings = Settings() if settings is None else settings
    keys = Keys() if keys is None else keys
    metrics = Metrics()
    host = Host(load, settings, metrics, on_failure=on_failure)
    writer = Writer(host)
    service = Service(host, writer, settings, metrics)
    app = FastAPI(
        title="odqa",
        version=odqa.__version__,
        description=_DESCRIPTION,
        lifespan=_lifespan(host, writer),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    for router in (api(service, keys), documents(service, keys), operations(service, keys), page.router()):
        app.include_router(router)
    replies.register(app)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.add_middleware(Shell, settings=settings, metrics=metrics)
    return app


def _lifespan(host: Host, writer: Writer) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        host.start()
        writer.start()
        yield
        await asyncio.to_thread(writer.close)
        await asyncio.to_thread(host.close)

    return lifespan
