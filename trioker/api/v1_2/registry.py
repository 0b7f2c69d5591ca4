"""What talks to registries (page, "Push an image on the registry", "Search images", "Check auth configuration"); pulling is with /images/create."""

from trioker.api.replies import json_reply
from trioker.api.router import Call
from trioker.api.v1_2.credentials import body_credentials, header_credentials, login_credentials
from trioker.api.v1_2.jobs import job_stream
from trioker.api.v1_2.parameters import Parameters, query_parameters
from trioker.http.messages import Reply, Stream
from trioker.model.errors import InvalidParameter
from trioker.model.progress import Tell


def pull(call: Call, query: Parameters) -> Stream:
    """``POST /images/create`` with ``fromImage``."""
    name, tag, registry = query.text("fromImage"), query.text("tag"), query.text("registry")
    credentials = header_credentials(call.request)

    async def work(tell: Tell) -> tuple[()]:
        await call.backend.registries.pull(name, tag, registry, credentials, tell)
        return ()

    return job_stream(work)


async def post_image_push(call: Call) -> Reply:
    """Send a repository, one of its tags, or with ``registry`` an image by its id."""
    query = query_parameters(call.request)
    tag, registry = query.text("tag"), query.text("registry")
    credentials = await body_credentials(call.request)

    async def work(tell: Tell) -> tuple[()]:
        await call.backend.registries.push(call.name, tag, registry, credentials, tell)
        return ()

    return job_stream(work)


async def get_images_search(call: Call) -> Reply:
    """Repositories whose name or description matches; [] without any (behaviour.md section 0)."""
    term = query_parameters(call.request).text("term")
    if not term:
        raise InvalidParameter("term: nothing to search for")
    found = await call.backend.registries.search(term, header_credentials(call.request))
    return json_reply([{"Name": each.name, "Description": each.description} for each in found])


async def post_auth(call: Call) -> Reply:
    """Ask the registry whether it knows the user; nothing is kept."""
    credentials, server = await login_credentials(call.request)
    if not credentials:
        raise InvalidParameter("username: no user is named")
    return json_reply({"Status": await call.backend.registries.login(credentials, server)})
