"""A new image from a container (page, "Create a new image from a container's changes")."""

import attrs

from trioker.api.decoding import BODY_LIMIT, Fields, decode_json
from trioker.api.replies import json_reply
from trioker.api.router import Call
from trioker.api.v1_2.config import partial_config
from trioker.api.v1_2.parameters import query_parameters
from trioker.http.messages import Reply, Request
from trioker.model.commit import Commit
from trioker.model.container import Config
from trioker.model.errors import InvalidParameter
from trioker.model.ids import short_id


async def post_commit(call: Call) -> Reply:
    """Take what the container changed. The message is ``m`` or ``comment``: the page has one, clients send the other."""
    query = query_parameters(call.request)
    container = query.text("container")
    if not container:
        raise InvalidParameter("container: none is named")
    commit = Commit(
        repository=query.text("repo"),
        tag=query.text("tag"),
        comment=query.text("m") or query.text("comment"),
        author=query.text("author"),
        config=await _config(call.request),
    )
    image = await call.backend.containers.commit(container, commit)
    return json_reply({"Id": short_id(image.id)}, status=201)


async def _config(request: Request) -> Config | None:
    """None for an empty body, ``null`` and ``{}``; the command line client sends the second."""
    body = await request.body.read(BODY_LIMIT)
    config = partial_config(Fields.of(decode_json(body))) if body.strip() else Config()
    return None if config == Config() else attrs.evolve(config, image="")
