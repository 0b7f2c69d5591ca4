"""From a request to its endpoint: version prefix, path, method (behaviour.md sections 1 and 2)."""

import posixpath
import re
import string
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from urllib.parse import quote

import attrs

from trioker.api.backend import Backend
from trioker.api.errors import error_reply, told_of_full_disks
from trioker.api.replies import text_reply
from trioker.http.messages import Reply, Request, Response
from trioker.model.errors import TriokerError

READ = ("GET", "HEAD")
"""A HEAD is answered like its GET; the server leaves the body out."""
GET = ("GET",)
POST = ("POST",)
DELETE = ("DELETE",)

VERSION_PREFIX = re.compile(r"/v([0-9.]+)/?((?<=/).*|images/viz)", re.DOTALL)
"""docker-py 0.3.2 forgets the slash before ``images/viz``."""
NAME_PATTERNS = {"{name}": "(?P<name>.+)", "{id}": "(?P<name>[^/]+)"}
"""Names of images have slashes; so a name takes all up to the words behind it."""


@attrs.frozen
class Call:
    """What an endpoint gets."""

    backend: Backend
    request: Request
    name: str
    """The part of the path that names a container or image; empty where the path has none."""


Endpoint = Callable[[Call], Awaitable[Reply]]


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"(\{\w+\})", path)
    return re.compile("".join(NAME_PATTERNS.get(part) or re.escape(part) for part in parts), re.DOTALL)


@attrs.frozen
class Route:
    """Methods and a path, with ``{name}`` (may hold slashes) or ``{id}`` (may not) for what varies, and who answers."""

    methods: tuple[str, ...]
    path: str
    endpoint: Endpoint
    pattern: re.Pattern[str] = attrs.field(
        init=False, default=attrs.Factory(lambda self: _pattern(self.path), takes_self=True)
    )


def clean_path(path: str) -> str:
    """The path without ``//``, ``.`` and ``..``; a slash at its end stays."""
    tidy = posixpath.normpath("/" + path.lstrip("/"))
    return tidy + "/" if path.endswith("/") and tidy != "/" else tidy


def _moved(path: str, target: str) -> Response:
    query = target.partition("?")[2]
    location = quote(path, errors="replace") + ("?" + quote(query, safe=string.punctuation) if query else "")
    return Response(301, headers=((b"Location", location.encode("ascii")),))


def _not_found() -> Response:
    return text_reply("404 page not found\n", status=404)


def _not_allowed(routes: Iterable[Route], method: str) -> Response:
    allowed = ", ".join(sorted({name for route in routes for name in route.methods}))
    reply = text_reply(f"Method {method} is not allowed here, only {allowed}\n", status=405)
    return attrs.evolve(reply, headers=(*reply.headers, (b"Allow", allowed.encode())))


@attrs.frozen
class Router:
    """A Handler over dialects, each a table of routes under its version."""

    backend: Backend
    dialects: Mapping[str, Sequence[Route]]
    unversioned: Sequence[Route]
    """Answers paths without a version."""

    async def __call__(self, request: Request) -> Reply:
        """The endpoint's reply, or the one that says why there is none."""
        if request.method == "OPTIONS":
            return Response(200)
        clean = clean_path(request.path)
        if clean != request.path:
            return _moved(clean, request.target)
        versioned = VERSION_PREFIX.fullmatch(request.path)
        if versioned is None:
            return await self._answer(self.unversioned, request.path, request)
        version, rest = versioned.groups()
        if version not in self.dialects:
            return self._unknown(version)
        return await self._answer(self.dialects[version], "/" + rest, request)

    async def _answer(self, routes: Sequence[Route], path: str, request: Request) -> Reply:
        matches = [(route, match) for route in routes if (match := route.pattern.fullmatch(path))]
        if not matches:
            return _not_found()
        for route, match in matches:
            if request.method in route.methods:
                return await self._call(route.endpoint, request, match.groupdict().get("name", ""))
        # The first path is the most particular: /containers/json is a list, not also a container of that name that could be removed.
        return _not_allowed((route for route, _ in matches if route.path == matches[0][0].path), request.method)

    async def _call(self, endpoint: Endpoint, request: Request, name: str) -> Reply:
        try:
            with told_of_full_disks():
                return await endpoint(Call(self.backend, request, name))
        except TriokerError as error:
            return error_reply(error)

    def _unknown(self, version: str) -> Response:
        return text_reply(f"No such API version: {version} (served here: {', '.join(self.dialects)})\n", status=404)
