"""Endpoints of the page whose room is not built yet: they say so, and nothing else."""

from trioker.api.replies import text_reply
from trioker.api.router import Call, Endpoint
from trioker.http.messages import Reply, Response


def not_implemented(what: str) -> Response:
    """The refusal of one thing by name."""
    return text_reply(f"Not implemented yet: {what}\n", status=501)


def later(what: str) -> Endpoint:
    """An endpoint that refuses every call."""

    async def refuse(_call: Call) -> Reply:
        return not_implemented(what)

    return refuse
