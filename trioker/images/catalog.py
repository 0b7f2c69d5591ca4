"""All images and names at one moment, as a value: who reads never waits, and never sees half a change.

A change makes a new catalog. That copies, but changes are rare and pay for an fsync anyway.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import attrs

from trioker.images.references import DEFAULT_TAG, familiar, split_reference
from trioker.model.container import Config
from trioker.model.errors import NotFound
from trioker.model.ids import SHORT_LENGTH, short_id
from trioker.model.image import Image, Tag

Name = tuple[str, str]
"""Repository and tag."""


@attrs.frozen
class Match:
    """What a reference stands for."""

    image: Image
    names: tuple[Tag, ...] | None = None
    """The names it spells out: one for ``repository:tag``, all of the repository's for a bare one. None when it is an id."""


@attrs.frozen(eq=False)
class Catalog:
    """Images by id, tags by name."""

    images: Mapping[str, Image] = attrs.field(factory=dict)
    names: Mapping[Name, Tag] = attrs.field(factory=dict)

    def with_images(self, images: Iterable[Image], tags: Iterable[Tag] = ()) -> "Catalog":
        """More images, and names, whatever these stood for before."""
        return Catalog(
            {**self.images, **{image.id: image for image in images}},
            {**self.names, **{(tag.repository, tag.tag): tag for tag in tags}},
        )

    def without(self, tags: Iterable[Tag], image_ids: Iterable[str]) -> "Catalog":
        """Fewer names and images."""
        lost_names, lost_ids = {(tag.repository, tag.tag) for tag in tags}, set(image_ids)
        return Catalog(
            {image_id: image for image_id, image in self.images.items() if image_id not in lost_ids},
            {name: tag for name, tag in self.names.items() if name not in lost_names},
        )

    # attrs computes these on first use, slots and frozenness notwithstanding.

    @cached_property
    def all_images(self) -> tuple[Image, ...]:
        """Newest first."""
        return tuple(sorted(self.images.values(), key=lambda image: (-image.created_ns, image.id)))

    @cached_property
    def all_tags(self) -> tuple[Tag, ...]:
        """By repository, then by tag."""
        return tuple(self.names[name] for name in sorted(self.names))

    @cached_property
    def _sorted_ids(self) -> Sequence[str]:
        return sorted(self.images)

    @cached_property
    def _tags_by_image(self) -> Mapping[str, Sequence[Tag]]:
        found: dict[str, list[Tag]] = {}
        for tag in sorted(self.names.values(), key=lambda tag: tag.reference):
            found.setdefault(tag.image_id, []).append(tag)
        return found

    @cached_property
    def _children(self) -> Mapping[str, Sequence[str]]:
        found: dict[str, list[str]] = {}
        for image in self.all_images:
            found.setdefault(image.parent, []).append(image.id)
        return found

    @cached_property
    def layers(self) -> frozenset[str]:
        """The keys of the layers that images show."""
        return frozenset(image.layer for image in self.images.values())

    @cached_property
    def _by_recipe(self) -> Mapping[tuple[str, str], Image]:
        return {(image.parent, image.recipe): image for image in reversed(self.all_images) if image.recipe}

    def made_by(self, parent: str, recipe: str) -> Image | None:
        """The newest image that a build made over ``parent`` by ``recipe``."""
        return self._by_recipe.get((parent, recipe))

    def made_by_command(self, parent: str, config: Config) -> Image | None:
        """The newest child of ``parent`` whose container had this configuration, but for what does not count (behaviour.md, "POST /build").

        Only of those made here: anybody may push a child of a known image and say of it whatever a build would look for.
        """
        wanted = _comparable(config)
        made = (self.images[child] for child in self.children(parent) if not self.images[child].foreign)
        return next((image for image in made if _comparable(image.container_config) == wanted), None)

    def tags_of(self, image_id: str) -> Sequence[Tag]:
        """An image's names in alphabetical order."""
        return self._tags_by_image.get(image_id, ())

    def children(self, image_id: str) -> Sequence[str]:
        """The images made directly on it."""
        return self._children.get(image_id, ())

    def descendants(self, image_id: str) -> Sequence[str]:
        """The image and all that was made on it, each after its parent."""
        found = [image_id]
        for each in found:  # grows while we walk it; a damaged store may have made a ring
            found.extend(child for child in self.children(each) if child != image_id)
        return found

    def lineage(self, image_id: str) -> Sequence[Image]:
        """The image and its ancestors, newest first. Raises NotFound for an unknown id."""
        if image_id not in self.images:
            raise NotFound(f"No such image: {image_id}")
        found: dict[str, Image] = {}
        while (image := self.images.get(image_id)) and image_id not in found:  # ends in a ring, too
            found[image_id] = image
            image_id = image.parent
        return tuple(found.values())

    def name_of(self, image_id: str) -> str:
        """The alphabetically first name, else the short id."""
        tags = self.tags_of(image_id)
        return tags[0].reference if tags else short_id(image_id)

    def find(self, reference: str) -> Match:
        """An image by unique id prefix, by name, or by ``repository:id-prefix`` (behaviour.md section 3). Raises NotFound.

        After a repository the original takes an id's first digits even where a tag says the same: in a repository of twenty images
        ``repo:1`` would hardly ever be the tag 1. Here digits come before a tag only from the length of a short id on.
        """
        if image_id := _starting_with(self._sorted_ids, reference):
            return Match(self.images[image_id])
        repository, tag = split_reference(familiar(reference))
        exact = self.names.get((repository, tag or DEFAULT_TAG))
        by_id = self._in_repository(repository, tag)
        if by_id and (exact is None or len(tag) >= SHORT_LENGTH):
            return Match(self.images[by_id], () if exact is None else (exact,))
        if exact is None:
            raise NotFound(f"No such image: {reference}")
        return Match(self.images[exact.image_id], (exact,) if tag else self._repository(repository))

    def _repository(self, repository: str) -> tuple[Tag, ...]:
        return tuple(tag for tag in self.all_tags if tag.repository == repository)

    def _in_repository(self, repository: str, prefix: str) -> str:
        return _starting_with(sorted({tag.image_id for tag in self._repository(repository)}), prefix) if prefix else ""


def _comparable(config: Config) -> Config:
    return attrs.evolve(config, image="", hostname="", volumes=(), volumes_from="", attach_stdin=False)


def _starting_with(ids: Sequence[str], prefix: str) -> str:
    """The only one of the sorted ids that begins so; "" when there is none, or more than one."""
    place = bisect_left(ids, prefix)
    found = [each for each in ids[place : place + 2] if each.startswith(prefix)]
    return found[0] if prefix and len(found) == 1 else ""
