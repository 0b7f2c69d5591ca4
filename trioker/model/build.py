"""What a client asks of a build (page, "Build an image from Dockerfile via stdin")."""

from collections.abc import AsyncIterable, Awaitable, Callable

import attrs


@attrs.frozen
class BuildRequest:
    """One build, decoded. Either ``context`` or ``remote`` says where the files come from; a Dockerfile may come alone."""

    context: AsyncIterable[bytes] | None = None
    """A tar, plain or compressed; read once."""
    remote: str = ""
    """URL of a Dockerfile, of a tar, or of a git repository."""
    dockerfile: str = "Dockerfile"
    """Its path in the context."""
    dockerfile_text: Callable[[], Awaitable[bytes]] | None = None
    """Gives the Dockerfile, where it is no part of the context (the multipart form of 0.4.x). To be called once the context has been
    read to its end: the Dockerfile may come behind it."""
    repository: str = ""
    tag: str = ""
    """The name the image gets when all went well; none without a repository."""
    target: str = ""
    """Name or number of the stage to stop after; "" is the last."""
    build_args: tuple[tuple[str, str | None], ...] = ()
    """Values of ARG; None takes the Dockerfile's default."""
    no_cache: bool = False
    pull: bool = False
    """Look for a newer base image even where there is one."""
    quiet: bool = False
    """Leave out what RUN steps print."""
