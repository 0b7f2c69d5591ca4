"""What a daemon told of its disk (``GET /system/df``), added up and as tables."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import attrs

from trioker.api.v1_2.words import size
from trioker.cli.tables import table

SHORT = 12
"""Digits of an id that people see."""
COMMAND = 40
"""Characters of a command that are shown."""

NEEDED = {"Images", "Containers", "Volumes", "BuildCache", "Layers", "Blobs"}
"""What an answer has."""

Thing = Mapping[str, Any]


@attrs.frozen(eq=False)
class Stock:
    """The answer, decoded. Layers are named by their keys, and each is counted once, however many images show it."""

    told: Thing

    @cached_property
    def layers(self) -> Mapping[str, Thing]:
        """By key."""
        return {layer["Id"]: layer for layer in self.told["Layers"]}

    @cached_property
    def of_images(self) -> set[str]:
        """Layers that are no container's."""
        return {key for key, layer in self.layers.items() if not layer["Container"]}

    @cached_property
    def of_cache(self) -> set[str]:
        """Layers that only the build cache would miss."""
        cached = self.below(each["ID"] for each in self.told["BuildCache"])
        return cached - self.below(each["Id"] for each in self.told["Images"])

    @cached_property
    def in_use(self) -> set[str]:
        """Layers that containers stand on."""
        return self.below(each["Id"] for each in self.told["Images"] if each["Containers"])

    @cached_property
    def trees(self) -> Mapping[str, int]:
        """How many of the images have a layer in their tree."""
        return Counter(key for each in self.told["Images"] for key in self.below([each["Id"]]))

    @cached_property
    def _tops(self) -> Mapping[str, str]:
        """The layer that shows an image's tree, by the image's id."""
        return {image_id: key for key, layer in self.layers.items() for image_id in layer["Images"]}

    def below(self, image_ids: Iterable[str]) -> set[str]:
        """The layers that make up these images."""
        found: set[str] = set()
        for image_id in image_ids:
            key = self._tops.get(image_id, "")
            while key in self.layers and key not in found:
                found.add(key)
                key = self.layers[key]["Parent"]
        return found

    def bytes_of(self, keys: Iterable[str]) -> int:
        """What layers take together."""
        return sum(self.layers[key]["Size"] for key in keys)


def summary(stock: Stock) -> str:
    """One line for each kind of thing."""
    rows = [_images(stock), _containers(stock), _volumes(stock), _build_cache(stock), _blobs(stock)]
    return table([("TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"), *rows])


def _row(kind: str, total: str, active: str, taken: int, free: int) -> Sequence[str]:
    share = f" ({100 * free // taken}%)" if taken else ""
    return kind, total, active, size(taken), size(free) + share


def _images(stock: Stock) -> Sequence[str]:
    images = stock.told["Images"]
    own = stock.of_images - stock.of_cache
    active = sum(1 for each in images if each["Containers"])
    return _row("Images", str(len(images)), str(active), stock.bytes_of(own), stock.bytes_of(own - stock.in_use))


def _containers(stock: Stock) -> Sequence[str]:
    containers = stock.told["Containers"]
    idle = [each["SizeRw"] for each in containers if each["State"] != "running"]
    active = len(containers) - len(idle)
    return _row("Containers", str(len(containers)), str(active), sum(each["SizeRw"] for each in containers), sum(idle))


def _volumes(stock: Stock) -> Sequence[str]:
    usages = [volume["UsageData"] for volume in stock.told["Volumes"]]
    idle = [each["Size"] for each in usages if not each["RefCount"]]
    active = len(usages) - len(idle)
    return _row("Volumes", str(len(usages)), str(active), sum(each["Size"] for each in usages), sum(idle))


def _build_cache(stock: Stock) -> Sequence[str]:
    taken = stock.bytes_of(stock.of_cache)
    return _row("Build cache", str(len(stock.told["BuildCache"])), "0", taken, taken)


def _blobs(stock: Stock) -> Sequence[str]:
    """Compressed originals: all of them can be fetched again."""
    taken = stock.told["Blobs"]["Size"]
    return _row("Kept downloads", "-", "-", taken, taken)


def details(stock: Stock) -> str:
    """Each thing by itself; a kind of which there is nothing is left out."""
    kinds = [
        ("Images", _image_lines(stock)),
        ("Layers of images", _layer_lines(stock)),
        ("Containers", _container_lines(stock)),
        ("Volumes", _volume_lines(stock)),
        ("Build cache", _cache_lines(stock)),
    ]
    blobs = stock.told["Blobs"]
    kept = f"\nKept downloads: {size(blobs['Size'])}, at most {size(blobs['Limit'])}\n"
    return "".join(f"\n{kind}:\n\n{table(lines)}" for kind, lines in kinds if len(lines) > 1) + kept


def _image_lines(stock: Stock) -> Sequence[Sequence[str]]:
    rows = [
        (name, each["Id"][:SHORT], size(each["Size"]), size(each["SharedSize"]),
         size(each["Size"] - each["SharedSize"]), str(each["Containers"]))
        for each in stock.told["Images"]
        for name in [*each["RepoTags"], *each["RepoDigests"]] or ["<none>"]
    ]  # fmt: skip
    return [("NAME", "ID", "SIZE", "SHARED", "UNIQUE", "CONTAINERS"), *sorted(rows)]


def _layer_lines(stock: Stock) -> Sequence[Sequence[str]]:
    layers = (layer for layer in stock.layers.values() if not layer["Container"])
    rows = [
        (layer["Id"][:SHORT], layer["Parent"][:SHORT], size(layer["Size"]), str(stock.trees.get(layer["Id"], 0)))
        for layer in sorted(layers, key=lambda layer: -int(layer["Size"]))
    ]  # fmt: skip
    return [("ID", "ON", "SIZE", "IN IMAGES"), *rows]


def _container_lines(stock: Stock) -> Sequence[Sequence[str]]:
    rows = [
        (each["Id"][:SHORT], each["Image"], _cut(each["Command"]), size(each["SizeRw"]), each["Status"])
        for each in stock.told["Containers"]
    ]
    return [("ID", "IMAGE", "COMMAND", "SIZE", "STATUS"), *rows]


def _volume_lines(stock: Stock) -> Sequence[Sequence[str]]:
    rows = [
        (each["Name"], str(each["UsageData"]["RefCount"]), size(each["UsageData"]["Size"]))
        for each in stock.told["Volumes"]
    ]
    return [("NAME", "CONTAINERS", "SIZE"), *rows]


def _cache_lines(stock: Stock) -> Sequence[Sequence[str]]:
    rows = [
        (each["ID"][:SHORT], each["Parent"][:SHORT], size(each["Size"]), _cut(each["Description"]))
        for each in stock.told["BuildCache"]
    ]
    return [("ID", "ON", "SIZE", "MADE BY"), *rows]


def _cut(text: str) -> str:
    text = text.strip()
    return text if len(text) <= COMMAND else f"{text[: COMMAND - 3]}..."
