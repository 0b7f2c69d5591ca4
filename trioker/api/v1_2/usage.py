"""``GET /system/df``: what takes room on the disk, and who uses it. Beyond the page; in the form of the API since 1.25.

To what that form had, come "Layers" and "Blobs": with them a client can tell what any choice of images takes, each layer counted once.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import attrs

from trioker.api.replies import json_reply
from trioker.api.router import Call
from trioker.api.v1_2.shapes import Shape, container_row, is_digest
from trioker.api.v1_2.words import seconds, timestamp
from trioker.http.messages import Reply
from trioker.model.container import Container
from trioker.model.ids import short_id
from trioker.model.image import Image, Tag
from trioker.model.usage import DiskUsage, LayerUsage


async def get_system_df(call: Call) -> Reply:
    """Everything that takes room."""
    usage = await call.backend.system.disk_usage()
    images = call.backend.images
    stock = Stock(usage, images.all(), images.tags(), call.backend.containers.all())
    return json_reply(
        {
            "LayersSize": sum(layer.size for layer in usage.layers if not layer.container),
            "Images": _image_rows(stock),
            "Containers": [_container_row(stock, each) for each in stock.containers],
            "Volumes": _volume_rows(stock),
            "BuildCache": [_cache_row(image) for image in stock.cache],
            "Layers": [_layer_row(layer) for layer in usage.layers],
            "Blobs": {"Size": usage.blobs, "Limit": usage.blob_limit},
        }
    )


@attrs.frozen(eq=False)
class Stock:
    """All there is at one moment, with what its shapes have in common."""

    usage: DiskUsage
    images: Sequence[Image]
    tags: Sequence[Tag]
    containers: Sequence[Container]

    @cached_property
    def layers(self) -> Mapping[str, LayerUsage]:
        """By key."""
        return {layer.key: layer for layer in self.usage.layers}

    @cached_property
    def writable(self) -> Mapping[str, LayerUsage]:
        """By the id of the container whose it is."""
        return {layer.container: layer for layer in self.usage.layers if layer.container}

    @cached_property
    def users(self) -> Mapping[str, int]:
        """How many containers were made from an image, by its id."""
        return Counter(container.image_id for container in self.containers)

    @cached_property
    def names(self) -> Mapping[str, Sequence[Tag]]:
        """By image id."""
        names: dict[str, list[Tag]] = {}
        for tag in self.tags:
            names.setdefault(tag.image_id, []).append(tag)
        return names

    @cached_property
    def cache(self) -> Sequence[Image]:
        """Images that only a build would miss: it made them, and nothing that has a name or a container stands on them."""
        needed = _with_ancestors(self.images, self.names.keys() | self.users.keys())
        return [image for image in self.images if image.recipe and image.id not in needed]

    @cached_property
    def listed(self) -> Sequence[Image]:
        """Images that people know of: not those that are but a step on the way to others."""
        steps = {image.parent for image in self.images} | {image.id for image in self.cache}
        hidden = steps - self.names.keys() - self.users.keys()
        return [image for image in self.images if image.id not in hidden]

    def chain(self, key: str) -> Sequence[LayerUsage]:
        """A layer and those it stands on; of one made since the figures were taken, nothing."""
        found: dict[str, LayerUsage] = {}
        while key in self.layers and key not in found:
            found[key] = self.layers[key]
            key = found[key].parent
        return tuple(found.values())


def _with_ancestors(images: Iterable[Image], wanted: Iterable[str]) -> set[str]:
    parents = {image.id: image.parent for image in images}
    found: set[str] = set()
    for image_id in wanted:
        while image_id in parents and image_id not in found:
            found.add(image_id)
            image_id = parents[image_id]  # noqa: PLW2901  up the lineage
    return found


def _size(layers: Iterable[LayerUsage]) -> int:
    return sum(layer.size for layer in layers)


def _image_rows(stock: Stock) -> list[Shape]:
    """``SharedSize`` is in the trees of other images of the list, too."""
    chains = {image.id: stock.chain(image.layer) for image in stock.listed}
    shown = Counter(layer.key for chain in chains.values() for layer in chain)
    return [
        {
            "Id": image.id,
            "ParentId": image.parent,
            **_names_shape(stock.names.get(image.id, ())),
            "Created": seconds(image.created_ns),
            "Labels": {label.name: label.value for label in image.config.labels} if image.config else {},
            "Size": _size(chains[image.id]),
            "VirtualSize": _size(chains[image.id]),
            "SharedSize": _size(layer for layer in chains[image.id] if shown[layer.key] > 1),
            "Containers": stock.users.get(image.id, 0),
        }
        for image in stock.listed
    ]


def _names_shape(names: Sequence[Tag]) -> Shape:
    return {
        "RepoTags": [tag.reference for tag in names if not is_digest(tag)],
        "RepoDigests": [tag.reference for tag in names if is_digest(tag)],
    }


def _container_row(stock: Stock, container: Container) -> Shape:
    names = stock.names.get(container.image_id)
    image = min(tag.reference for tag in names) if names else short_id(container.image_id)
    own = stock.writable.get(container.id)
    sizes = (own.size, _size(stock.chain(own.key))) if own else (0, 0)
    more: Shape = {"ImageID": container.image_id, "State": container.state.phase.value, "Names": []}
    return container_row(container, image, sizes, time.time_ns()) | more


def _volume_rows(stock: Stock) -> list[Shape]:
    users = Counter(mount.volume for container in stock.containers for mount in container.volumes)
    return [
        {"Name": name, "Driver": "local", "Scope": "local", "UsageData": {"Size": size, "RefCount": users[name]}}
        for name, size in stock.usage.volumes
    ]


def _cache_row(image: Image) -> Shape:
    return {
        "ID": image.id,
        "Parent": image.parent,
        "Type": "regular",
        "Description": " ".join(image.container_config.command),
        "InUse": False,
        "Shared": False,
        "Size": image.size,
        "CreatedAt": timestamp(image.created_ns),
    }


def _layer_row(layer: LayerUsage) -> Shape:
    return {
        "Id": layer.key,
        "Parent": layer.parent,
        "Size": layer.size,
        "Images": layer.images,
        "Container": layer.container,
    }
