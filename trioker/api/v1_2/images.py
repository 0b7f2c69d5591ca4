"""The images (page section 2.2), but for creation, which has a file of its own."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from trioker.api.decoding import read_fields
from trioker.api.replies import json_reply, text_reply
from trioker.api.router import Call
from trioker.api.v1_2 import shapes
from trioker.api.v1_2.config import partial_config
from trioker.api.v1_2.parameters import form_parameters, query_parameters
from trioker.api.v1_2.shapes import Shape
from trioker.http.messages import Reply, Response
from trioker.model.ids import short_id
from trioker.model.image import Image, Tag

DEFAULT_TAG = "latest"


async def get_images_json(call: Call) -> Reply:
    """The list: a line for each tag, then the images without one."""
    query = query_parameters(call.request)
    everything, repository = query.flag("all"), query.text("filter")
    images, tags = call.backend.images.all(), call.backend.images.tags()
    sizes = virtual_sizes(images)
    if repository:
        return json_reply(list(_tagged_rows(images, [tag for tag in tags if tag.repository == repository], sizes)))
    untagged = _untagged(images, tags, everything=everything)
    rows = (shapes.image_row(image, sizes[image.id]) for image in untagged)
    return json_reply([*_tagged_rows(images, tags, sizes), *rows])


def virtual_sizes(images: Iterable[Image]) -> Mapping[str, int]:
    """Bytes of the whole tree by image id. One walk over them all: one for each image would go over long lineages again and again."""
    by_id = {image.id: image for image in images}
    sizes: dict[str, int] = {}
    for each in by_id.values():
        line: list[Image] = []
        image: Image | None = each
        while image is not None and image.id not in sizes:
            line.append(image)
            sizes[image.id] = 0  # ends the walk in a ring, which a damaged store may have
            image = by_id.get(image.parent)
        size = sizes[image.id] if image else 0
        for generation in reversed(line):
            size += generation.size
            sizes[generation.id] = size
    return sizes


def _tagged_rows(images: Iterable[Image], tags: Sequence[Tag], sizes: Mapping[str, int]) -> Iterator[Shape]:
    """Digests are shown only of images that have no tag in the repository."""
    by_id = {image.id: image for image in images}
    tagged = {(tag.repository, tag.image_id) for tag in tags if not shapes.is_digest(tag)}
    for tag in tags:
        if not (shapes.is_digest(tag) and (tag.repository, tag.image_id) in tagged):
            yield shapes.image_row(by_id[tag.image_id], sizes[tag.image_id], tag)


def _untagged(images: Sequence[Image], tags: Iterable[Tag], *, everything: bool) -> Sequence[Image]:
    """Those without a name; unless ``everything`` only the ones nothing was built on."""
    hidden = {tag.image_id for tag in tags}
    if not everything:
        hidden |= {image.parent for image in images}
    return [image for image in images if image.id not in hidden]


async def get_images_viz(call: Call) -> Reply:
    """The images as a graph for Graphviz; empty without images."""
    images = call.backend.images.all()
    if not images:
        return text_reply("")
    edges = "".join(map(_edge, images))
    labels = "".join(_labels(call.backend.images.tags()))
    return text_reply(f"digraph docker {{\n{edges}{labels} base [style=invisible]\n}}\n")


def _edge(image: Image) -> str:
    if image.parent:
        return f' "{short_id(image.parent)}" -> "{short_id(image.id)}"\n'
    return f' base -> "{short_id(image.id)}" [style=invis]\n'


def _labels(tags: Iterable[Tag]) -> Iterator[str]:
    for image_id, names in _names(tags).items():
        key = short_id(image_id)
        label = r"\n".join([key, *(tag.reference.replace("\\", "\\\\").replace('"', '\\"') for tag in names)])
        yield f' "{key}" [label="{label}",shape=box,fillcolor="paleturquoise",style="filled,rounded"];\n'


async def get_image_json(call: Call) -> Reply:
    """Everything of one image."""
    return json_reply(shapes.image_shape(call.backend.images.get(call.name)))


async def get_image_history(call: Call) -> Reply:
    """The image and what it was built on, newest first."""
    images = call.backend.images
    lineage = images.lineage(images.get(call.name).id)
    names = _names(images.tags())
    return json_reply([shapes.history_row(image, names.get(image.id, ())) for image in lineage])


def _names(tags: Iterable[Tag]) -> Mapping[str, Sequence[Tag]]:
    """By image id."""
    names: dict[str, list[Tag]] = {}
    for tag in tags:
        names.setdefault(tag.image_id, []).append(tag)
    return names


async def post_image_tag(call: Call) -> Reply:
    """One more name."""
    query = await form_parameters(call.request)
    force = query.flag("force")
    await call.backend.images.tag(call.name, query.text("repo"), query.text("tag") or DEFAULT_TAG, force=force)
    return Response(201)


async def post_images_get_cache(call: Call) -> Reply:
    """What the build of 2013's client looks for before each step: the image that this step was made into before; empty 404 for none."""
    fields = await read_fields(call.request)
    parent = call.backend.images.get(fields.text("Id"))
    found = call.backend.images.made_by_command(parent.id, partial_config(fields))
    return json_reply({"Id": found.id}) if found else Response(404)


async def delete_image(call: Call) -> Reply:
    """Take a name away, and the image where it was the last."""
    removals = await call.backend.images.remove(call.name)
    return json_reply([shapes.removal_shape(removal) for removal in removals])
