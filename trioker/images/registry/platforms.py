"""What a host can run, and which of an index's images that is (OCI image-spec, image-index.md, "platform"; names as in Go)."""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import attrs

from trioker.images.registry.documents import printable
from trioker.model.errors import NotFound
from trioker.model.layer import Blob

_ARCHITECTURES: Mapping[str, tuple[str, str]] = {
    "x86_64": ("amd64", "v1"),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", "v8"),
    "armv5tel": ("arm", "v5"),
    "armv5tejl": ("arm", "v5"),
    "armv6l": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv8l": ("arm", "v8"),
    "loongarch64": ("loong64", ""),
}
"""The kernel's word -> Go's, and the variant there is at least; other words are the same in both."""

_KERNEL_WORDS = {"amd64": "x86_64", "386": "i686", "arm64": "aarch64", "arm": "armv7l", "loong64": "loongarch64"}
_PLAIN_VARIANT = {"amd64": "v1", "arm64": "v8", "arm": "v7"}
"""What an image without a variant was built for."""

_AMD64_LEVELS = (
    ("v2", {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}),
    ("v3", {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"}),
)
"""The x86-64 psABI's levels in the words of /proc/cpuinfo; each needs those before it. "abm" is LZCNT."""


@attrs.frozen
class Platform:
    """Where an image runs."""

    os: str = ""
    architecture: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant))) or "an unnamed platform"


@attrs.frozen
class Offer:
    """One image of an index."""

    blob: Blob
    """Its manifest."""
    platform: Platform


def host_platform() -> Platform:
    """What runs here."""
    machine = os.uname().machine
    return platform_of(machine, _cpu_flags() if machine == "x86_64" else ())


def platform_of(machine: str, cpu_flags: Collection[str] = ()) -> Platform:
    """What runs on a kernel of that word (uname(2)) and such a processor."""
    architecture, variant = _ARCHITECTURES.get(machine, (machine, ""))
    if architecture == "amd64":
        for level, flags in _AMD64_LEVELS:
            if not flags <= set(cpu_flags):
                break
            variant = level
    return Platform("linux", architecture, variant)


def kernel_word(platform: Platform) -> str:
    """``x86_64`` for ``amd64``: how the API of 2013 calls an architecture. Other words stay."""
    return _KERNEL_WORDS.get(platform.architecture, platform.architecture)


def go_word(architecture: str) -> str:
    """``amd64`` for ``x86_64``: how an image's configuration calls it."""
    return _ARCHITECTURES.get(architecture, (architecture, ""))[0]


def choose(offers: Sequence[Offer], host: Platform, name: str) -> Blob:
    """The manifest for this host: of its architecture the most demanding variant it can run, the first of equals.

    An entry without a platform is taken where nothing else fits; its configuration will tell. Raises NotFound naming what is offered.
    """
    fitting = [offer for offer in offers if _fits(offer.platform, host)]
    if fitting:
        return max(fitting, key=lambda offer: _level(offer.platform)).blob
    for offer in offers:
        if offer.platform == Platform():
            return offer.blob
    names = {printable(str(offer.platform)) for offer in offers} - {"unknown/unknown"}
    offered = ", ".join(sorted(names)[:20]) or "nothing"
    raise NotFound(f"{name}: no matching manifest for {host} in the manifest list entries; it has: {offered}")


def _fits(offered: Platform, host: Platform) -> bool:
    same = (offered.os, offered.architecture) == (host.os, host.architecture)
    return same and (offered.variant == host.variant or 0 < _level(offered) <= _level(host))


def _level(platform: Platform) -> int:
    """Of a variant, for comparison within one architecture; 0 for what is no variant."""
    variant = platform.variant or _PLAIN_VARIANT.get(platform.architecture, "")
    match = re.fullmatch(r"v([1-9])(?:\.\d)?", variant)
    return int(match[1]) if match else 0


def _cpu_flags() -> Sequence[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ()
    match = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return match[1].split() if match else ()
