"""Each row: images as ``child<parent``, their names, the containers' images; what is removed; what happens."""

import pytest

from trioker.images.catalog import Catalog
from trioker.images.removal import plan_removal
from trioker.model.errors import Conflict, NotFound
from trioker.model.image import Image, Tag


def full(letter: str) -> str:
    return letter * 64


def build(images: str, names: str) -> Catalog:
    catalog = Catalog()
    for number, word in enumerate(images.split()):
        child, _, parent = word.partition("<")
        catalog = catalog.with_images([Image(full(child), number, parent=full(parent))])
    for word in names.split():
        reference, _, letter = word.partition("=")
        catalog = catalog.with_images((), [Tag(*reference.split(":"), full(letter))])
    return catalog


def plan(images: str, names: str, used: str, name: str):
    return plan_removal(
        build(images, names), name, lambda image_id: ["container cccccccccccc"] if image_id[0] in used else []
    )


CHAIN = "a b<a c<b"
TREE = "a b<a d<a c<b"


@pytest.mark.parametrize(
    ("images", "names", "used", "name", "happens"),
    [
        # by name
        ("a", "r:latest=a", "", "r", "-a a"),
        ("a", "r:latest=a", "", "r:latest", "-a a"),
        ("a", "r:latest=a r:v1=a", "", "r:v1", "-a"),
        ("a", "r:latest=a r:v1=a", "", "r", "-a a"),
        ("a", "r:latest=a q:latest=a", "", "r", "-a"),
        ("a b", "r:latest=a r:v1=b", "", "r", "-a a"),
        (CHAIN, "r:latest=c", "", "r", "-c c b a"),
        (CHAIN, "r:latest=c q:x=a", "", "r", "-c c b"),
        (CHAIN, "r:latest=c q:x=b", "", "r", "-c c"),
        (CHAIN, "r:latest=a", "", "r", "-a c b a"),
        (CHAIN, "r:latest=a q:x=c", "", "r", "-a"),
        (CHAIN, "r:latest=b q:x=c", "", "r", "-b"),
        (TREE, "r:latest=a q:x=d", "", "r", "-a c b"),
        (TREE, "r:latest=c", "", "r", "-c c b"),
        (TREE, "r:latest=c q:x=d", "", "r", "-c c b"),
        # containers
        ("a", "r:latest=a r:v1=a", "a", "r:v1", "-a"),
        (CHAIN, "r:latest=c", "b", "r", "-c c"),
        (CHAIN, "r:latest=a", "c", "r", "-a"),
        (TREE, "r:latest=a", "d", "r", "-a c b"),
        # by id
        ("a", "", "", "aaaa", "a"),
        (CHAIN, "", "", "c", "c b a"),
        (CHAIN, "", "", "b", "c b a"),
        (CHAIN, "q:x=a", "", "c", "c b"),
        (TREE, "", "", "c", "c b"),
        (TREE, "", "", "a", "c b d a"),
        # an id wins over a repository of the same spelling
        ("a b", "a:latest=b", "", "a", "a"),
    ],
)
def test_what_nothing_needs_goes_and_nothing_else(images, names, used, name, happens):
    found = plan(images, names, used, name)
    untagged = ["-" + removal.untagged[0] for removal in found.removals() if removal.untagged]
    deleted = [removal.deleted[0] for removal in found.removals() if removal.deleted]
    assert " ".join(untagged + deleted) in (happens, happens.replace("c b d", "d c b"))


@pytest.mark.parametrize(
    ("images", "names", "used", "name", "reason"),
    [
        ("a", "r:latest=a", "", "aaaa", "it is still named r:latest"),
        ("a", "r:v=a q:w=a", "", "aaaa", "it is still named q:w, r:v"),
        (CHAIN, "r:latest=c", "", "aa", "image cccccccccccc stands on it, and it is still named r:latest"),
        (TREE, "r:latest=d", "", "aa", "image dddddddddddd stands on it, and it is still named r:latest"),
        ("a", "", "a", "aa", "container cccccccccccc uses it"),
        ("a", "r:latest=a", "a", "r", "container cccccccccccc uses it"),
        (CHAIN, "", "c", "a", "image cccccccccccc stands on it, and container cccccccccccc uses it"),
    ],
)
def test_what_is_needed_is_refused_with_the_reason(images, names, used, name, reason):
    with pytest.raises(Conflict) as caught:
        plan(images, names, used, name)
    assert str(caught.value) == f"Conflict, {name} wasn't deleted: {reason}"


@pytest.mark.parametrize("name", ["nope", "r:nope", "q", ""])
def test_an_unknown_name_is_not_found(name):
    with pytest.raises(NotFound, match=f"^No such image: {name}$"):
        plan("a", "r:latest=a q:x=a", "", name)


def test_an_id_behind_a_repository_is_no_tag():
    with pytest.raises(NotFound, match=r"^No such tag: r:aaa$"):
        plan("a", "r:latest=a", "", "r:aaa")


def test_a_thousand_generations_go_at_once():
    images = [Image(f"{n:064x}", n, parent=f"{n - 1:064x}" if n else "") for n in range(1500)]
    catalog = Catalog({image.id: image for image in images}, {})
    assert plan_removal(catalog, images[0].id, lambda _: []).delete == tuple(reversed(images))
