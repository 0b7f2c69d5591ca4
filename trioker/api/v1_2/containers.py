"""The containers (page section 2.1), but for attach, which has a file of its own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from trioker.api.backend import Containers, Send
from trioker.api.decoding import read_fields
from trioker.api.errors import error_reply
from trioker.api.replies import json_reply
from trioker.api.router import Call
from trioker.api.v1_2 import shapes
from trioker.api.v1_2.config import config_from_json
from trioker.api.v1_2.listing import read_listing, select
from trioker.api.v1_2.parameters import Parameters, form_parameters, query_parameters
from trioker.http.messages import Instead, Reply, Response, Stream
from trioker.model.errors import InvalidParameter, NotFound, TriokerError

STOP_GRACE = 10
"""Seconds between SIGTERM and SIGKILL when the client names none (behaviour.md section 4)."""

TERMINAL_SIDE = range(2**16)
"""Rows or columns: struct winsize has 16 bits for each (ioctl_tty(2))."""


async def get_containers_json(call: Call) -> Reply:
    """The list, newest first."""
    query = query_parameters(call.request)
    listing, with_sizes = read_listing(query), query.flag("size")
    containers, images = call.backend.containers, call.backend.images
    rows = [
        shapes.container_row(
            container,
            images.name_of(container.image_id),
            await _sizes(containers, container.id) if with_sizes else (0, 0),
            time.time_ns(),
        )
        for container in select(containers.all(), listing)
    ]
    return json_reply(rows)


async def _sizes(containers: Containers, container_id: str) -> tuple[int, int]:
    """Zeros for a container that was removed since the list was taken."""
    try:
        return await containers.sizes(container_id)
    except NotFound:
        return 0, 0


async def post_containers_create(call: Call) -> Reply:
    """A new container from the configuration in the body."""
    config = config_from_json(await read_fields(call.request))
    created = await call.backend.containers.create(config)
    return json_reply(shapes.created_shape(created), status=201)


async def get_container_json(call: Call) -> Reply:
    """Everything of one container."""
    container = call.backend.containers.get(call.name)
    return json_reply(shapes.container_shape(container, call.backend.system.version().executable))


async def get_container_changes(call: Call) -> Reply:
    """What differs from the image."""
    changes = await call.backend.containers.changes(call.name)
    return json_reply([shapes.change_shape(path, kind) for path, kind in changes])


async def get_container_export(call: Call) -> Reply:
    """The tree as a tar. What fails before its first bytes is an ordinary reply; later the body is cut."""
    container = call.backend.containers.get(call.name)

    async def write(send: Send) -> None:
        begun = False

        async def pass_on(data: bytes) -> None:
            nonlocal begun
            begun = True
            await send(data)

        try:
            await call.backend.containers.export(container.id, pass_on)
        except TriokerError as error:
            if begun:
                raise
            raise Instead(error_reply(error)) from error

    return Stream(200, write, ((b"Content-Type", b"application/octet-stream"),), held=True)


@contextmanager
def _wrapped(call: Call, doing: str) -> Iterator[None]:
    """Failures get the opening words of 2013, and with them status 500; only a container that is not there stays a 404."""
    call.backend.containers.get(call.name)
    try:
        yield
    except TriokerError as error:
        call.backend.containers.get(call.name)
        raise TriokerError(f"Error {doing} container {call.name}: {error}") from error


async def post_container_start(call: Call) -> Reply:
    """Start it. A body is ignored: later clients send one."""
    with _wrapped(call, "starting"):
        await call.backend.containers.start(call.name)
    return Response(200)


def _grace(query: Parameters) -> int:
    """``t`` in seconds; a negative one counts as none given (behaviour.md section 4)."""
    seconds = query.number("t", STOP_GRACE)
    return seconds if seconds >= 0 else STOP_GRACE


async def post_container_stop(call: Call) -> Reply:
    """Ask it to end, then make it."""
    grace = _grace(await form_parameters(call.request))
    await call.backend.containers.stop(call.name, grace)
    return Response(204)


async def post_container_restart(call: Call) -> Reply:
    """Stop and start."""
    grace = _grace(await form_parameters(call.request))
    with _wrapped(call, "restarting"):
        await call.backend.containers.restart(call.name, grace)
    return Response(204)


async def post_container_kill(call: Call) -> Reply:
    """End it at once."""
    await call.backend.containers.kill(call.name)
    return Response(204)


async def post_container_wait(call: Call) -> Reply:
    """The exit code, when there is one."""
    return json_reply({"StatusCode": await call.backend.containers.wait(call.name)})


async def post_container_resize(call: Call) -> Reply:
    """Set the terminal's size to ``h`` rows and ``w`` columns."""
    query = await form_parameters(call.request)
    rows, columns = _side(query, "h"), _side(query, "w")
    await call.backend.containers.resize(call.name, rows, columns)
    return Response(200)


def _side(query: Parameters, name: str) -> int:
    side = query.number(name, -1)
    if side not in TERMINAL_SIDE:
        raise InvalidParameter(f"{name}: expected a number from 0 to {TERMINAL_SIDE[-1]}")
    return side


async def delete_container(call: Call) -> Reply:
    """Remove it, with ``v`` its volumes too."""
    volumes = query_parameters(call.request).flag("v")
    await call.backend.containers.remove(call.name, volumes=volumes)
    return Response(204)
