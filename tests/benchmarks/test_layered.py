import gzip
import hashlib
import io
import json
import shutil
import tarfile

import pytest

from benchmarks import layered as module
from benchmarks.layered import GONE, LAYERS, SUMS, digest, layered

pytestmark = pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox")


def small(number):
    return layered(number, files=4, blob=1000)


def tree_of(image):
    """Files by name, as the layers leave them."""
    files = {}
    for described in json.loads(image.manifest)["layers"]:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(image.blobs[described["digest"]]))) as tar:
            for member in tar:
                if (hidden := member.name.replace(".wh.", "")) != member.name:
                    del files[hidden]
                elif member.isfile():
                    files[member.name] = tar.extractfile(member).read()
    return files


def test_a_number_gives_the_same_bytes_each_time_and_another_number_shares_none():
    first = small(1)
    second = small(2)
    assert small(1) == first
    assert not first.blobs.keys() & second.blobs.keys()


def test_the_manifest_names_each_blob_and_the_configuration_each_tar():
    image = small(1)
    manifest = json.loads(image.manifest)
    described = [manifest["config"], *manifest["layers"]]
    assert len(manifest["layers"]) == LAYERS
    assert {each["digest"]: each["size"] for each in described} == {
        name: len(blob) for name, blob in image.blobs.items()
    }
    tars = [gzip.decompress(image.blobs[each["digest"]]) for each in manifest["layers"]]
    configuration = json.loads(image.blobs[manifest["config"]["digest"]])
    assert configuration["rootfs"]["diff_ids"] == list(map(digest, tars))


def test_the_sums_are_those_of_all_files_that_the_layers_leave():
    files = tree_of(small(3))
    sums = dict(reversed(line.split("  ")) for line in files.pop(SUMS).decode().splitlines())
    assert sums == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert GONE not in files


def test_the_files_of_an_image_are_as_many_as_is_said():
    assert module.LAYERS * module.FILES == 2000
