"""Images that are built."""

from benchmarks import image
from benchmarks.client import Client
from benchmarks.settings import IMAGE, Samples, Settings
from benchmarks.transfers import WrongResult, check_runs, milliseconds

NAME = f"{IMAGE}-build"


def build(settings: Settings) -> Samples:
    """Milliseconds to build an image of some RUN steps that do next to nothing, anew and from the cache.

    Of dockerd it is the builder that its API takes unless told otherwise; ``buildkit`` is its other one, and of engines with one builder that.
    """
    context = image.pack({"Dockerfile": _dockerfile(settings.steps).encode()}, {})
    with Client(settings.host) as client:
        anew = _build(client, context, settings.steps)
        built = client.image_id(NAME)
        cached = [milliseconds(lambda: client.build(NAME, context, cache=True)) for _ in range(settings.cached_builds)]
        if client.image_id(NAME) != built:
            raise WrongResult("the cache was not used")
        client.remove_image(NAME)
        other = anew
        if client.has_buildkit():
            other = _build(client, context, settings.steps, buildkit=True)
            client.remove_image(NAME)
    return {"build": [anew], "build_cached": cached, "buildkit": [other]}


def _build(client: Client, context: bytes, steps: int, *, buildkit: bool = False) -> float:
    taken = milliseconds(lambda: client.build(NAME, context, cache=False, buildkit=buildkit))
    check_runs(client, NAME, ("/bin/sh", "-c", f'test "$(cat /step-*)" = "$(busybox seq {steps})"'))
    return taken


def _dockerfile(steps: int) -> str:
    return "\n".join([f"FROM {IMAGE}", *(f"RUN echo {n} > /step-{n:03}" for n in range(1, steps + 1)), ""])
