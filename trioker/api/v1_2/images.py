"""The images (page section 2.2), but for creation, which has a file of its own."""

from collections.abc import Iterator, Sequence

from trioker.api.backend import Images
from trioker.api.replies import json_reply, text_reply
from trioker.api.router import Call
from trioker.api.v1_2 import shapes
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
    images = call.backend.images
    if repository:
        return json_reply(list(_tagged_rows(images, [tag for tag in images.tags() if tag.repository == repository])))
    return json_reply([*_tagged_rows(images, images.tags()), *_untagged_rows(images, everything=everything)])


def _virtual_size(images: Images, image_id: str) -> int:
    return sum(layer.size for layer in images.lineage(image_id))


def _tagged_rows(images: Images, tags: Sequence[Tag]) -> Iterator[Shape]:
    known = {image.id: image for image in images.all()}
    for tag in tags:
        yield shapes.image_row(known[tag.image_id], _virtual_size(images, tag.image_id), tag)


def _untagged_rows(images: Images, *, everything: bool) -> Iterator[Shape]:
    """Those without a name; unless ``everything`` only the ones nothing was built on."""
    hidden = {tag.image_id for tag in images.tags()}
    if not everything:
        hidden |= {image.parent for image in images.all()}
    for image in images.all():
        if image.id not in hidden:
            yield shapes.image_row(image, _virtual_size(images, image.id))


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


def _labels(tags: Sequence[Tag]) -> Iterator[str]:
    names: dict[str, list[str]] = {}
    for tag in tags:
        names.setdefault(short_id(tag.image_id), []).append(tag.reference.replace("\\", "\\\\").replace('"', '\\"'))
    for key, references in names.items():
        label = r"\n".join([key, *references])
        yield f' "{key}" [label="{label}",shape=box,fillcolor="paleturquoise",style="filled,rounded"];\n'


async def get_image_json(call: Call) -> Reply:
    """Everything of one image."""
    return json_reply(shapes.image_shape(call.backend.images.get(call.name)))


async def get_image_history(call: Call) -> Reply:
    """The image and what it was built on, newest first."""
    images = call.backend.images
    lineage = images.lineage(images.get(call.name).id)
    tags = images.tags()
    return json_reply(
        [shapes.history_row(image, [tag for tag in tags if tag.image_id == image.id]) for image in lineage]
    )


async def post_image_tag(call: Call) -> Reply:
    """One more name."""
    query = await form_parameters(call.request)
    force = query.flag("force")
    await call.backend.images.tag(call.name, query.text("repo"), query.text("tag") or DEFAULT_TAG, force=force)
    return Response(201)


async def delete_image(call: Call) -> Reply:
    """Take a name away, and the image where it was the last."""
    removals = await call.backend.images.remove(call.name)
    return json_reply([shapes.removal_shape(removal) for removal in removals])
