import os

import pytest

from trioker.images.registry.platforms import Offer, Platform, choose, go_word, host_platform, kernel_word, platform_of
from trioker.model.errors import NotFound
from trioker.model.layer import Blob

V2 = ["cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"]
V3 = ["abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"]


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", [], "linux/amd64/v1"),
        ("x86_64", V2, "linux/amd64/v2"),
        ("x86_64", V3, "linux/amd64/v1"),
        ("x86_64", V2 + V3, "linux/amd64/v3"),
        ("aarch64", [], "linux/arm64/v8"),
        ("armv6l", [], "linux/arm/v6"),
        ("armv7l", [], "linux/arm/v7"),
        ("i686", [], "linux/386"),
        ("riscv64", [], "linux/riscv64"),
        ("loongarch64", [], "linux/loong64"),
    ],
)
def test_a_kernel_and_its_processor_are_a_platform(machine, flags, expected):
    assert str(platform_of(machine, flags)) == expected


def test_this_host_is_one():
    assert host_platform().os == "linux"
    assert go_word(os.uname().machine) == host_platform().architecture


def test_words_of_kernel_and_go_are_translated_both_ways():
    assert kernel_word(Platform("linux", "amd64")) == "x86_64"
    assert kernel_word(Platform("linux", "riscv64")) == "riscv64"
    assert [go_word(word) for word in ("x86_64", "aarch64", "armv7l", "amd64", "s390x")] == [
        "amd64",
        "arm64",
        "arm",
        "amd64",
        "s390x",
    ]


def offers(*platforms):
    return [Offer(Blob(name, 1), Platform(*name.split("/")) if name else Platform()) for name in platforms]


@pytest.mark.parametrize(
    ("host", "offered", "chosen"),
    [
        ("linux/amd64/v1", ["linux/arm64/v8", "linux/amd64"], "linux/amd64"),
        ("linux/amd64/v2", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v3"], "linux/amd64/v2"),
        ("linux/amd64/v3", ["linux/amd64/v3", "linux/amd64"], "linux/amd64/v3"),
        ("linux/arm64/v8", ["linux/arm64"], "linux/arm64"),
        ("linux/arm64/v8", ["linux/arm64/v9", "linux/arm64/v8"], "linux/arm64/v8"),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"], "linux/arm/v7"),
        ("linux/arm/v6", ["linux/arm/v7", "linux/arm/v5", "linux/arm/v6"], "linux/arm/v6"),
        ("linux/arm/v6", ["linux/arm", "linux/arm/v5"], "linux/arm/v5"),
        ("linux/riscv64", ["windows/riscv64", "linux/riscv64"], "linux/riscv64"),
        ("linux/riscv64", ["linux/arm64", ""], ""),
        ("linux/riscv64", ["", "linux/riscv64"], "linux/riscv64"),
    ],
)
def test_the_most_demanding_image_that_runs_here_is_chosen(host, offered, chosen):
    assert choose(offers(*offered), Platform(*host.split("/")), "app").digest == chosen


@pytest.mark.parametrize(
    ("offered", "told"),
    [
        (["linux/arm64/v8", "windows/amd64", "unknown/unknown"], "linux/arm64/v8, windows/amd64"),
        (["linux/amd64/v3"], "linux/amd64/v3"),
        (["linux/amd64/strange"], "linux/amd64/strange"),
        (["linux/a\n\x1bb"], "linux/a  b"),
        ([], "nothing"),
    ],
)
def test_where_nothing_fits_the_error_lists_what_there_is(offered, told):
    with pytest.raises(NotFound, match=f"^app:1: no matching manifest for linux/amd64/v2 .*it has: {told}$"):
        choose(offers(*offered), Platform("linux", "amd64", "v2"), "app:1")
