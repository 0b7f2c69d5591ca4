"""What removing an image takes away (behaviour.md section 5, DELETE). Decided here as a whole, before anything is touched.

The rules: a name takes its tags off the image. An image without names goes if nothing needs it, and with it all that was made on it and is
not needed either; then its ancestors, as long as they are nameless, childless and unused. *Needed* is what has a name, what a container
was made from, and what a needed image was made on. (In 2013 a container did not hold its image, which left it without a root; that a
container's own image is refused is docker's rule of today.)
"""

from collections.abc import Callable, Iterator, Sequence

import attrs

from trioker.images.catalog import Catalog
from trioker.model.errors import Conflict, NotFound
from trioker.model.ids import short_id
from trioker.model.image import Image, Removal, Tag

Users = Callable[[str], Sequence[str]]
"""Who stands on an image beside other images, by its full id, in words: "container 0123456789ab"."""


@attrs.frozen
class Plan:
    """What is going to happen."""

    image: Image
    """The one the user named."""
    untag: tuple[Tag, ...]
    delete: tuple[Image, ...]
    """Children before their parents."""

    def removals(self, kept: Sequence[Image] = ()) -> tuple[Removal, ...]:
        """What to tell the user: at most one untagging, as the original did, and each deletion but those that were ``kept`` after all."""
        untagged = (Removal(untagged=self.image.id),) if self.untag else ()
        return (*untagged, *(Removal(deleted=image.id) for image in self.delete if image not in kept))


def plan_removal(catalog: Catalog, name: str, users: Users) -> Plan:
    """Raises NotFound, and Conflict when nothing could be removed or a container stands on the image."""
    match = catalog.find(name)
    if match.names is None:
        return _plan_by_id(catalog, name, match.image, users)
    if not match.names:
        raise NotFound(f"No such tag: {name}")
    return _plan_by_name(catalog.without(match.names, ()), name, Plan(match.image, match.names, ()), users)


def _plan_by_id(catalog: Catalog, name: str, image: Image, users: Users) -> Plan:
    for reason in _reasons_to_keep(catalog, image.id, users):
        raise Conflict(f"Conflict, {name} wasn't deleted: {reason}")
    doomed = _unneeded(catalog, image.id, users)
    if image.id not in doomed:
        raise Conflict(f"Conflict, {name} wasn't deleted: {_reason_below(catalog, image.id, users)}")
    return _plan(catalog, Plan(image, (), ()), doomed, users)


def _plan_by_name(rest: Catalog, name: str, untagging: Plan, users: Users) -> Plan:
    """``rest`` is what the catalog will be without the names."""
    image = untagging.image
    if rest.tags_of(image.id):
        return untagging
    for reason in _reasons_to_keep(rest, image.id, users):
        raise Conflict(f"Conflict, {name} wasn't deleted: {reason}")
    return _plan(rest, untagging, _unneeded(rest, image.id, users), users)


def _plan(catalog: Catalog, untagging: Plan, doomed: dict[str, None], users: Users) -> Plan:
    if untagging.image.id in doomed:
        _climb(catalog, untagging.image, doomed, users)
    return attrs.evolve(untagging, delete=tuple(catalog.images[image_id] for image_id in doomed))


def _reasons_to_keep(catalog: Catalog, image_id: str, users: Users) -> Iterator[str]:
    """Why the image itself is needed, children aside."""
    if tags := catalog.tags_of(image_id):
        yield f"it is still named {', '.join(tag.reference for tag in tags)}"
    if standing := users(image_id):
        yield f"{', '.join(sorted(standing))} uses it"


def _reason_below(catalog: Catalog, image_id: str, users: Users) -> str:
    for descendant in catalog.descendants(image_id)[1:]:
        for reason in _reasons_to_keep(catalog, descendant, users):
            return f"image {short_id(descendant)} stands on it, and {reason}"
    raise AssertionError("an image was kept for no reason")


def _unneeded(catalog: Catalog, image_id: str, users: Users) -> dict[str, None]:
    """Of the image and its descendants those that can go, children first; a dict for a set that keeps its order."""
    doomed: dict[str, None] = {}
    for each in reversed(catalog.descendants(image_id)):
        if _can_go(catalog, each, doomed, users):
            doomed[each] = None
    return doomed


def _climb(catalog: Catalog, image: Image, doomed: dict[str, None], users: Users) -> None:
    for ancestor in catalog.lineage(image.id)[1:]:
        if not _can_go(catalog, ancestor.id, doomed, users):
            return
        doomed[ancestor.id] = None


def _can_go(catalog: Catalog, image_id: str, doomed: dict[str, None], users: Users) -> bool:
    free = not any(_reasons_to_keep(catalog, image_id, users))
    return free and all(child in doomed for child in catalog.children(image_id))
