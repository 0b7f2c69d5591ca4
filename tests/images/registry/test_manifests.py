import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioker.images.registry import media
from trioker.images.registry.documents import BadDocument
from trioker.images.registry.manifests import LAYERS, Index, Manifest, encode_manifest, parse_manifest
from trioker.images.registry.platforms import Platform
from trioker.model.errors import TriokerError
from trioker.model.layer import Blob

HEX = "0123456789abcdef" * 4


def blob(media_type, number=1, **more):
    return {"mediaType": media_type, "size": 100 + number, "digest": f"sha256:{HEX[:-1]}{number % 10}", **more}


def manifest(**changes):
    document = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": blob(media.OCI_CONFIG),
        "layers": [blob(f"{media.OCI_LAYER}+gzip", 2), blob(f"{media.OCI_LAYER}+zstd", 3)],
        "annotations": {"a": "b"},
    }
    return {name: value for name, value in {**document, **changes}.items() if value is not None}


def index(**changes):
    amd64, arm = {"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "arm", "variant": "v7"}
    entries = [
        blob(media.OCI_MANIFEST, 1, platform=amd64),
        blob(media.OCI_MANIFEST, 2, platform=arm),
        blob("text/plain", 3),
    ]
    return {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": entries, **changes}


def parse(document, media_type=media.OCI_MANIFEST):
    return parse_manifest(json.dumps(document).encode(), media_type, "app:1")


@pytest.mark.parametrize("layer", sorted(media.LAYERS))
@pytest.mark.parametrize("kind", [(media.OCI_MANIFEST, media.OCI_CONFIG), (media.DOCKER_MANIFEST, media.DOCKER_CONFIG)])
def test_manifests_of_both_kinds_are_read(kind, layer):
    document = manifest(mediaType=kind[0], config=blob(kind[1]), layers=[blob(layer, 2)])
    assert parse(document, kind[0]) == Manifest(
        Blob(f"sha256:{HEX[:-1]}1", 101, kind[1]), (Blob(f"sha256:{HEX[:-1]}2", 102, layer),)
    )


@pytest.mark.parametrize("kind", media.INDEXES)
def test_indexes_of_both_kinds_are_read_and_what_is_no_image_left_out(kind):
    found = parse(index(mediaType=kind), kind)
    assert isinstance(found, Index)
    assert [str(offer.platform) for offer in found.offers] == ["linux/amd64", "linux/arm/v7"]
    assert found.offers[0].blob == Blob(f"sha256:{HEX[:-1]}1", 101, media.OCI_MANIFEST)


def test_an_offer_may_have_no_platform():
    found = parse(index(manifests=[blob(media.OCI_MANIFEST)]), media.OCI_INDEX)
    assert found.offers[0].platform == Platform()


@pytest.mark.parametrize(
    ("said", "sent"), [(None, media.OCI_MANIFEST), (media.OCI_MANIFEST, "application/json"), (media.OCI_MANIFEST, "")]
)
def test_either_the_document_or_its_reply_tells_the_type(said, sent):
    assert isinstance(parse(manifest(mediaType=said), sent), Manifest)


SCHEMA1 = {"schemaVersion": 1, "name": "app", "fsLayers": [], "history": []}


@pytest.mark.parametrize(
    ("document", "media_type", "text"),
    [
        (SCHEMA1, media.SCHEMA1[1], "^app:1 is in the old schema 1 format, which trioker does not read$"),
        (SCHEMA1, "application/json", "schema 1 format"),
        (manifest(), media.SCHEMA1[0], "schema 1 format"),
        (manifest(schemaVersion=3), media.OCI_MANIFEST, "schemaVersion: expected 2, got 3"),
        (manifest(schemaVersion=None), media.OCI_MANIFEST, "schemaVersion: expected 2, got null"),
        (manifest(), media.OCI_INDEX, "sent as .* but says it is"),
        (manifest(mediaType=None), "text/plain", "text/plain is no image manifest trioker reads"),
        (manifest(mediaType=None), "", "without media type"),
        (manifest(manifests=[]), media.OCI_MANIFEST, "it has manifests, which"),
        (index(layers=[]), media.OCI_INDEX, "it has layers, which"),
        (index(config={}), media.OCI_INDEX, "it has config, which"),
        (
            manifest(config=blob("application/vnd.cncf.helm.config.v1+json")),
            media.OCI_MANIFEST,
            "no image but an artefact of type application/vnd.cncf",
        ),
        (manifest(config=None), media.OCI_MANIFEST, "no image but an artefact of type unknown"),
        (
            manifest(layers=[blob("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")]),
            media.OCI_MANIFEST,
            "foreign layer",
        ),
        (
            manifest(layers=[blob("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")]),
            media.OCI_MANIFEST,
            "foreign layer",
        ),
        (manifest(layers=[blob("application/x-zip")]), media.OCI_MANIFEST, "a layer of type application/x-zip"),
        (manifest(layers=[blob(media.OCI_LAYER)] * (LAYERS + 1)), media.OCI_MANIFEST, "1025 entries"),
        (manifest(layers={}), media.OCI_MANIFEST, "layers: expected a list of objects, got a JSON object"),
        (manifest(layers=[1]), media.OCI_MANIFEST, "layers: expected a list of objects"),
        (manifest(layers=[blob(media.OCI_LAYER, size=0)]), media.OCI_MANIFEST, r"layers\[0\]: size: expected 1 to"),
        (manifest(layers=[blob(media.OCI_LAYER, size=-1)]), media.OCI_MANIFEST, "size: expected an integer from 0"),
        (manifest(layers=[blob(media.OCI_LAYER, size=2**50)]), media.OCI_MANIFEST, "size: expected 1 to"),
        (manifest(layers=[blob(media.OCI_LAYER, size=True)]), media.OCI_MANIFEST, "size: expected an integer from 0"),
        (manifest(layers=[blob(media.OCI_LAYER, size=1.5)]), media.OCI_MANIFEST, "size: expected an integer from 0"),
        (
            manifest(layers=[blob(media.OCI_LAYER, digest="sha256:../../x")]),
            media.OCI_MANIFEST,
            "bad digest 'sha256:../../x'",
        ),
        (manifest(layers=[blob(media.OCI_LAYER, digest=f"sha256:{HEX.upper()}")]), media.OCI_MANIFEST, "bad digest"),
        (manifest(layers=[blob(media.OCI_LAYER, digest=f"sha512:{HEX * 2}")]), media.OCI_MANIFEST, "bad digest"),
        (manifest(layers=[blob(media.OCI_LAYER, digest=None)]), media.OCI_MANIFEST, "bad digest"),
        (manifest(config=blob(media.OCI_CONFIG, size=2**30)), media.OCI_MANIFEST, "config: size: expected 1 to"),
    ],
)
def test_what_is_wrong_is_named(document, media_type, text):
    with pytest.raises(BadDocument, match=text):
        parse(document, media_type)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"schemaVersion": ' + b"9" * 5000 + b"}",
        b'{"schemaVersion": NaN}',
    ],
)
def test_what_is_no_json_object_is_refused(raw):
    with pytest.raises(BadDocument, match="manifest of app:1"):
        parse_manifest(raw, media.OCI_MANIFEST, "app:1")


def paths(value, path=()):
    """Every place in a document."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from paths(child, (*path, key))


def replaced(value, path, new):
    if not path:
        return new
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[path[0]] = replaced(value[path[0]], path[1:], new)
    return changed


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.sampled_from(list(media.LAYERS)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_a_mutated_manifest_raises_nothing_but_our_errors(data):
    document = data.draw(st.sampled_from([manifest(), index()]))
    path = data.draw(st.sampled_from(list(paths(document))))
    complaint = ""
    try:
        parse(replaced(document, path, data.draw(JSON)), document["mediaType"])
    except TriokerError as error:
        complaint = str(error)
    assert complaint.isprintable()


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_our_errors(raw):
    with pytest.raises(TriokerError):
        parse_manifest(raw, media.OCI_MANIFEST, "app:1")


def test_a_manifest_made_here_is_dockers_and_always_the_same():
    config = Blob(f"sha256:{HEX}", 10)
    layers = [Blob(f"sha256:{HEX}", 7), Blob(f"sha256:{HEX}", 8, f"{media.OCI_LAYER}+zstd")]
    raw = encode_manifest(config, layers)
    assert raw == encode_manifest(config, layers)
    found = parse_manifest(raw, media.DOCKER_MANIFEST, "app")
    assert found.config.media_type == media.DOCKER_CONFIG
    assert [layer.media_type for layer in found.layers] == [media.DOCKER_LAYER_GZIP, f"{media.DOCKER_LAYER}.zstd"]
