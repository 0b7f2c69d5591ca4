"""Builds (page, "Build an image from Dockerfile via stdin"; behaviour.md sections 0 and 6)."""

from collections.abc import AsyncIterator

import attrs

from trioker.api.backend import Send
from trioker.api.decoding import decode_json, show
from trioker.api.errors import explain, told_of_full_disks
from trioker.api.multipart import Multipart, boundary_of
from trioker.api.replies import TEXT_TYPE
from trioker.api.router import Call
from trioker.api.v1_2.parameters import Parameters, query_parameters
from trioker.http.messages import Reply, Request, Stream
from trioker.model.build import BuildRequest
from trioker.model.errors import InvalidParameter, TriokerError
from trioker.model.ids import short_id
from trioker.model.progress import Progress

DOCKERFILE_LIMIT = 2**20
"""Bytes of a Dockerfile sent by itself; long ones have ten thousand."""


async def post_build(call: Call) -> Reply:
    """Run a Dockerfile. The reply is text as it comes about; "Successfully built" or "Error build" begins its last line.

    Also what fails before the first step is told so, with status 200 (behaviour.md section 6); a parameter that cannot be read is a 400.
    """
    query = query_parameters(call.request)
    request = _with_source(build_request(query), call.request)
    call.backend.images.wanted_name(request.repository, request.tag)

    async def write(send: Send) -> None:
        text = _Text(send)
        try:
            with told_of_full_disks():
                image = await call.backend.builder.build(request, text.say, text.tell)
        except TriokerError as error:
            await text.line(f"Error build: {explain(error)}")
            return
        await text.line(f"Successfully built {short_id(image.id)}")

    return Stream(200, write, (TEXT_TYPE,), held=True)


@attrs.define
class _Text:
    """The reply on its way: what commands print, and lines of our own."""

    _send: Send
    _open: bool = attrs.field(init=False, default=False)
    """The last line has no end yet."""

    async def say(self, data: bytes) -> None:
        """A piece as it is."""
        self._open = not data.endswith(b"\n") if data else self._open
        await self._send(data)

    async def line(self, text: str) -> None:
        """A whole line."""
        begin = "\n" if self._open else ""
        await self.say(f"{begin}{text}\n".encode("utf-8", "replace"))

    async def tell(self, told: Progress) -> None:
        """What a pull tells, but for its counts: each would be a line."""
        if told.current is None:
            await self.line(f"{told.id}: {told.status}" if told.id else told.status)


def build_request(query: Parameters) -> BuildRequest:
    """All but the source. ``tag`` is what docker-py 0.1 calls ``t``; ``rm`` and ``forcerm`` change nothing: no container outlives a build."""
    query.flag("rm")
    query.flag("forcerm")
    repository, tag = split_name(query.text("t") or query.text("tag"))
    return BuildRequest(
        remote=query.text("remote"),
        dockerfile=query.text("dockerfile") or BuildRequest().dockerfile,
        repository=repository,
        tag=tag,
        target=query.text("target"),
        build_args=_build_args(query.text("buildargs")),
        no_cache=query.flag("nocache"),
        pull=query.flag("pull"),
        quiet=query.flag("q"),
    )


def split_name(name: str) -> tuple[str, str]:
    """Repository and tag, "" where there is none; a port of the repository's host is no tag."""
    repository, _, tag = name.rpartition(":")
    return (repository, tag) if repository and "/" not in tag else (name, "")


def _build_args(text: str) -> tuple[tuple[str, str | None], ...]:
    if not text:
        return ()
    try:
        value = decode_json(text.encode("utf-8", "replace"))
    except InvalidParameter as error:
        raise InvalidParameter(f"buildargs: {str(error).removeprefix('body: ')}") from None
    if value is None:
        return ()
    if not isinstance(value, dict) or not all(isinstance(each, str | None) for each in value.values()):
        raise InvalidParameter(f'buildargs: expected an object like {{"NAME": "value"}}, got {show(value)}')
    return tuple(value.items())


def _with_source(wanted: BuildRequest, request: Request) -> BuildRequest:
    if wanted.remote:
        return wanted
    if boundary := boundary_of(request.header(b"content-type")):
        form = BuildForm(Multipart(request.body, boundary))
        return attrs.evolve(wanted, context=form, dockerfile_text=form.dockerfile)
    return attrs.evolve(wanted, context=request.body)


class BuildForm:
    """The two files of 0.4.x's form: "Dockerfile", and perhaps "Context", which that time's command line client sends first.

    Iterating gives the context, a tar; none where the form has none.
    """

    def __init__(self, parts: Multipart) -> None:
        self._parts = parts
        self._part: str | None = ""
        self._dockerfile: bytes | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The context's bytes."""
        return self

    async def __anext__(self) -> bytes:
        """The next piece of the context."""
        while self._part is not None:
            if self._part == "Context" and (piece := await self._parts.read()):
                return piece
            await self._next_part()
        raise StopAsyncIteration

    async def dockerfile(self) -> bytes:
        """The Dockerfile's bytes, wherever it comes; what is not read yet of the context is left out. Raises InvalidParameter without one."""
        while self._dockerfile is None and self._part is not None:
            await self._next_part()
        if self._dockerfile is None:
            raise InvalidParameter('body: the form has no file "Dockerfile"')
        return self._dockerfile

    async def _next_part(self) -> None:
        self._part = await self._parts.next_part()
        if self._part == "Dockerfile":
            self._dockerfile = await self._read_dockerfile()

    async def _read_dockerfile(self) -> bytes:
        text = bytearray()
        while piece := await self._parts.read():
            text += piece
            if len(text) > DOCKERFILE_LIMIT:
                raise InvalidParameter(f"Dockerfile: longer than {DOCKERFILE_LIMIT} bytes")
        return bytes(text)
