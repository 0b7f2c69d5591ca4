"""The daemon's options about registries."""

import argparse
import contextlib
from collections.abc import Iterator

from trioker.cli import values
from trioker.images.registry.names import Registries
from trioker.model.errors import InvalidParameter
from trioker.model.options import RegistryOptions


def add_registries(group: argparse._ArgumentGroup) -> None:
    """Declare them."""
    defaults = RegistryOptions()
    group.add_argument("--default-registry", type=_default, default=defaults.default, metavar="REGISTRY",
                       help="HOST[:PORT] or URL of the registry for names without a host (default: %(default)s)")  # fmt: skip
    group.add_argument("--registry-mirror", action="append", default=[], type=_mirror, metavar="URL",
                       help="ask this one before the default registry; may be repeated")  # fmt: skip
    group.add_argument("--insecure-registry", action="append", default=[], type=_insecure, metavar="HOST[:PORT]|NETWORK",
                       help="one to speak to without TLS, or whatever its certificate; loopback always is; may be repeated")  # fmt: skip
    group.add_argument("--registry-ca", type=values.path, metavar="FILE",
                       help="PEM file of further authorities to believe, beside the system's")  # fmt: skip
    group.add_argument("--blob-limit", type=values.size_or_none, default=defaults.blob_limit, metavar="SIZE",
                       help="how much of what was pulled is kept compressed, to be pushed on unchanged (default: 10g)")  # fmt: skip


def registry_options(given: argparse.Namespace) -> RegistryOptions:
    """What was given."""
    return RegistryOptions(
        default=given.default_registry,
        mirrors=tuple(given.registry_mirror),
        insecure=tuple(given.insecure_registry),
        ca=given.registry_ca,
        blob_limit=given.blob_limit,
    )


def _default(text: str) -> str:
    with _refusing():
        return Registries(default=text).default


def _mirror(text: str) -> str:
    with _refusing():
        return Registries(mirrors=(text,)).mirrors[0]


def _insecure(text: str) -> str:
    with _refusing():
        Registries(insecure=frozenset({text}))
    return text


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except InvalidParameter as error:
        raise argparse.ArgumentTypeError(str(error)) from None
