import attrs
import pytest

from trioker.images.catalog import Catalog
from trioker.model.container import Config
from trioker.model.errors import NotFound
from trioker.model.image import Image, Tag

A = Image("aa11" + "0" * 60, 1)
B = Image("aa22" + "0" * 60, 2, parent=A.id)
C = Image("1c33" + "0" * 60, 3, parent=B.id)
D = Image("0123456789ab" + "0" * 52, 3)


def catalog() -> Catalog:
    names = [
        Tag("repo", "latest", B.id),
        Tag("repo", "1", B.id),
        Tag("repo", "c", C.id),
        Tag("host:5000/x", "latest", C.id),
    ]
    return Catalog().with_images([A, B, C, D], names)


@pytest.mark.parametrize(
    ("reference", "image"),
    [
        *[(A.id, A), ("aa1", A), ("aa22", B), ("1", C), ("repo", B), ("repo:latest", B), ("repo:c", C)],
        ("host:5000/x", C),
        ("host:5000/x:latest", C),
        ("repo:aa", B),
        ("repo:1c33", C),
        ("repo:1", B),  # the tag, though the other image's id begins with 1
    ],
)
def test_an_image_is_found_by_id_name_or_id_in_a_repository(reference, image):
    assert catalog().find(reference).image is image


@pytest.mark.parametrize(
    "reference", ["", "aa", "nope", "repo:nope", "repo:", ":latest", "repo:aa1", "x:latest", A.id + "0"]
)
def test_what_is_unknown_or_ambiguous_is_not_found(reference):
    with pytest.raises(NotFound) as caught:
        catalog().find(reference)
    assert str(caught.value) == f"No such image: {reference}"


def test_behind_a_repository_a_short_id_is_an_id_even_where_a_tag_says_the_same():
    made = catalog().with_images((), [Tag("repo", "d", D.id), Tag("repo", D.id[:12], C.id)])
    assert made.find(f"repo:{D.id[:12]}").image is D
    assert made.find(f"repo:{D.id[:12]}").names == (Tag("repo", D.id[:12], C.id),)


def test_a_match_tells_which_names_were_spelt_out():
    assert catalog().find("aa1").names is None
    assert catalog().find("repo:c").names == (Tag("repo", "c", C.id),)
    assert [tag.tag for tag in catalog().find("repo").names] == ["1", "c", "latest"]
    assert catalog().find("repo:1c").names == ()


def test_images_come_newest_first_and_tags_by_repository_and_tag():
    assert catalog().all_images == (D, C, B, A)
    assert [tag.reference for tag in catalog().all_tags] == ["host:5000/x:latest", "repo:1", "repo:c", "repo:latest"]


def test_the_lineage_is_the_image_and_its_ancestors_newest_first():
    assert catalog().lineage(C.id) == (C, B, A)
    with pytest.raises(NotFound):
        catalog().lineage("nope")


def test_a_lineage_ends_where_an_ancestor_is_missing():
    assert catalog().without((), [A.id]).lineage(C.id) == (C, B)


def test_a_ring_in_a_damaged_store_hangs_nobody():
    one, two = Image("1", 1, parent="2"), Image("2", 2, parent="1")
    ring = Catalog().with_images([one, two])
    assert ring.lineage("1") == (one, two)
    assert ring.descendants("1") == ["1", "2"]


def test_listings_show_the_alphabetically_first_name_else_the_short_id():
    assert catalog().name_of(C.id) == "host:5000/x:latest"
    assert catalog().name_of(A.id) == A.id[:12]
    assert catalog().name_of("f" * 64) == "f" * 12


def test_a_change_leaves_the_old_catalog_as_it_was():
    old = catalog()
    new = old.with_images((), [Tag("repo", "latest", C.id)]).without([Tag("repo", "c", C.id)], [D.id])
    assert (old.find("repo").image, new.find("repo").image) == (B, C)
    assert (len(old.all_images), len(new.all_images)) == (4, 3)
    assert "repo:c" not in [tag.reference for tag in new.all_tags]


def test_a_stranger_cannot_say_of_an_image_that_a_build_made_it():
    wanted = Config(command=("make", "install"))
    evil = Image("ee" + "0" * 62, 9, parent=A.id, container_config=wanted, foreign=True)
    ours = attrs.evolve(evil, id="bb" + "0" * 62, created_ns=8, foreign=False)
    assert Catalog().with_images([A, evil]).made_by_command(A.id, wanted) is None
    assert Catalog().with_images([A, evil, ours]).made_by_command(A.id, wanted) is ours
