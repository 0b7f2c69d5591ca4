"""Creating images (page, "Create an image"; behaviour.md section 5)."""

from collections.abc import Sequence
from urllib.parse import urlsplit

import attrs

from trioker.api.backend import Images
from trioker.api.decoding import show
from trioker.api.replies import json_reply
from trioker.api.router import Call
from trioker.api.v1_2.images import DEFAULT_TAG
from trioker.api.v1_2.jobs import END_OF_PROGRESS, job_stream
from trioker.api.v1_2.parameters import Parameters, form_parameters, has_form, query_parameters
from trioker.api.v1_2.registry import pull
from trioker.http.messages import Reply, Request, Stream
from trioker.model.errors import InvalidParameter
from trioker.model.ids import short_id
from trioker.model.progress import Progress, Tell

FROM_BODY = "-"


async def post_images_create(call: Call) -> Reply:
    """Pull an image, or import a tar from the body or from a URL."""
    query = await _parameters(call.request)
    if query.text("fromImage"):
        return pull(call, query)
    source, target = query.text("fromSrc"), _target(query)
    if source in ("", FROM_BODY):
        return await _import_body(call, source, target)
    return _import_url(call.backend.images, _url(source, "fromSrc"), target)


async def _parameters(request: Request) -> Parameters:
    """A form counts only where the URL does not say what the body is: curl calls every upload a form."""
    query = query_parameters(request)
    return query if query.text("fromSrc") else await form_parameters(request)


@attrs.frozen
class Target:
    """The name an import gets; none without a repository."""

    repository: str
    tag: str


def _target(query: Parameters) -> Target:
    """Checked here, because a reply in pieces has said 200 before the backend sees the names."""
    target = Target(query.text("repo"), query.text("tag") or DEFAULT_TAG)
    if ":" in target.repository.rpartition("/")[2]:  # elsewhere it parts a registry from its port
        raise InvalidParameter(f"repo: Illegal repository name: {target.repository}")
    if set(target.tag) & set("/:"):
        raise InvalidParameter(f"tag: Illegal tag name: {target.tag}")
    return target


async def _import_body(call: Call, source: str, target: Target) -> Reply:
    """One object, as clients parse the whole reply. Without ``fromSrc`` too: docker-py leaves it out for an open file."""
    request = call.request
    if has_form(request) and not query_parameters(request).text("fromSrc"):
        raise InvalidParameter("fromSrc: the body is a form, so it cannot be the tar")
    if not source and not _has_body(request):
        raise InvalidParameter("fromSrc: expected fromImage, fromSrc, or a tar in the body")
    image = await call.backend.images.import_stream(request.body, target.repository, target.tag)
    return json_reply({"status": short_id(image.id)})


def _has_body(request: Request) -> bool:
    return bool(request.header(b"transfer-encoding")) or request.header(b"content-length") not in (b"", b"0")


def _url(source: str, label: str) -> str:
    """With a scheme. Raises InvalidParameter for what cannot be fetched."""
    url = source if "://" in source else f"http://{source}"
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or not url.isprintable() or " " in url:
        raise InvalidParameter(f"{label}: expected an http or https URL, got {show(source)}")
    return url


def _import_url(images: Images, url: str, target: Target) -> Stream:
    async def work(tell: Tell) -> Sequence[object]:
        async def report(current: int, total: int) -> None:
            await tell(Progress("Importing", current=current, total=total))

        await tell(Progress(f"Downloading from {url}"))
        image = await images.import_url(url, target.repository, target.tag, report)
        return END_OF_PROGRESS, {"status": short_id(image.id)}

    return job_stream(work)


async def post_image_insert(call: Call) -> Reply:
    """A new image with one more file. The last object has the id in the one form that clients search for (behaviour.md section 5)."""
    query = await form_parameters(call.request)
    url, path = _url(query.text("url"), "url"), query.text("path")
    if not path.strip("/"):
        raise InvalidParameter("path: expected the path of the file in the image")
    name = call.backend.images.get(call.name).id

    async def work(tell: Tell) -> Sequence[object]:
        image = await call.backend.inserter.insert(name, url, path, tell)
        return END_OF_PROGRESS, {"status": image.id}, {"Id": short_id(image.id)}

    return job_stream(work)
