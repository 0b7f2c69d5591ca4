"""Dialects: URLs, JSON shapes and versions over one Backend. A dialect knows HTTP messages and model values, never the engine.

A request's way: ``router`` finds the dialect by the version in the path and the endpoint by method and path; the endpoint (one file per
resource in ``v1_2``) reads parameters, calls the backend and encodes; what fails with a TriokerError becomes a reply in ``errors``.
"""

from trioker.api.backend import Backend
from trioker.api.router import Router
from trioker.api.v1_2 import ROUTES as V1_2
from trioker.http.messages import Handler

__all__ = ["build_handler"]


def build_handler(backend: Backend) -> Handler:
    """The one handler an HTTP server needs: every dialect under its version, v1.2 also without a prefix."""
    return Router(backend, dialects={"1.2": V1_2}, unversioned=V1_2)
