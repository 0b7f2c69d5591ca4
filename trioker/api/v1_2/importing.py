"""Creating images (page, "Create an image"; behaviour.md section 5)."""

from urllib.parse import urlsplit

import attrs

from trioker.api.backend import Images, Send
from trioker.api.decoding import show
from trioker.api.errors import explain
from trioker.api.replies import JSON_TYPE, encode_json, json_reply
from trioker.api.router import Call
from trioker.api.v1_2.images import DEFAULT_TAG
from trioker.api.v1_2.later import not_implemented
from trioker.api.v1_2.parameters import Parameters, form_parameters, has_form, query_parameters
from trioker.api.v1_2.progress import Reporter
from trioker.http.messages import Reply, Request, Stream
from trioker.model.errors import InvalidParameter, TriokerError
from trioker.model.ids import short_id

FROM_BODY = "-"


async def post_images_create(call: Call) -> Reply:
    """Import a tar from the body or from a URL; pulling comes with the registry."""
    query = await _parameters(call.request)
    if query.text("fromImage"):
        return not_implemented("POST /images/create with fromImage (pull)")
    source, target = query.text("fromSrc"), _target(query)
    if source in ("", FROM_BODY):
        return await _import_body(call, source, target)
    return _import_url(call.backend.images, _url(source), target)


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


def _url(source: str) -> str:
    """With a scheme. Raises InvalidParameter for what cannot be fetched."""
    url = source if "://" in source else f"http://{source}"
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or not url.isprintable() or " " in url:
        raise InvalidParameter(f'fromSrc: expected "-" or an http or https URL, got {show(source)}')
    return url


def _import_url(images: Images, url: str, target: Target) -> Stream:
    async def write(send: Send) -> None:
        await _write_import(images, url, target, send)

    return Stream(200, write, (JSON_TYPE,))


async def _write_import(images: Images, url: str, target: Target, send: Send) -> None:
    """The objects of an import, one by one; a failure is the last of them."""
    await send(encode_json({"status": f"Downloading from {url}"}))
    try:
        image = await images.import_url(url, target.repository, target.tag, Reporter(send, "Importing"))
    except TriokerError as error:
        await send(encode_json({"error": explain(error)}))
        return
    await send(encode_json({}))
    await send(encode_json({"status": short_id(image.id)}))
