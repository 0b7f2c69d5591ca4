"""From a container to the image it is committed as: the record, and which paths are its layer (behaviour.md, "POST /commit")."""

from collections.abc import Iterable

import attrs

from trioker.model.commit import Commit
from trioker.model.container import ChangeKind, Config, Container
from trioker.model.ids import short_id
from trioker.model.image import Image

_DEFAULTS = Config()

RUN_ONLY = frozenset(
    (
        *("attach_stdin", "attach_stdout", "attach_stderr", "tty", "open_stdin", "stdin_once", "volumes_from"),
        *("memory", "memory_swap", "cpu_shares", "dns"),
    )
)
"""What was asked of one run and says nothing about the files: an image made in an interactive, limited container is not itself so."""


def draft_image(container: Container, wanted: Commit) -> Image:
    """The record of the new image, without what the store fills in. Its configuration is the container's, overridden by what the body sets."""
    changes = {name: getattr(_DEFAULTS, name) for name in RUN_ONLY}
    if container.config.hostname == short_id(container.id):  # nobody chose it
        changes["hostname"] = ""
    if wanted.config is not None:
        changes |= _given(wanted.config)
    return Image(
        id="",
        created_ns=0,
        parent=container.image_id,
        comment=wanted.comment,
        author=wanted.author,
        container=container.id,
        container_config=container.config,
        config=attrs.evolve(container.config, **changes),
    )


def _given(config: Config) -> dict[str, object]:
    values = {field.name: getattr(config, field.name) for field in attrs.fields(Config)}
    return {name: value for name, value in values.items() if value != getattr(_DEFAULTS, name)}


def split_changes(changes: Iterable[tuple[str, ChangeKind]]) -> tuple[list[str], list[str]]:
    """The paths a layer has, and those it takes away."""
    kept: list[str] = []
    deleted: list[str] = []
    for path, kind in changes:
        (deleted if kind is ChangeKind.DELETED else kept).append(path)
    return kept, deleted
