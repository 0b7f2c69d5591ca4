"""How images are named: ``repository[:tag]``, where the repository may begin with a registry's ``host[:port]/``.

In 2013 a colon always began the tag (behaviour.md section 3). Since registries got ports, it does so only when no slash follows it.
"""

import re

from trioker.model.errors import InvalidParameter

DEFAULT_TAG = "latest"

_COMPONENT = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_REPOSITORY = re.compile(rf"({_COMPONENT}:[0-9]{{1,5}}/)?{_COMPONENT}(/{_COMPONENT})*")
_REPOSITORY_LENGTH = 255  # today's limit for a name
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def check_repository(repository: str) -> None:
    """Raises InvalidParameter for what cannot be a repository: anything but letters, digits and ``_.-`` in parts joined by slashes."""
    if len(repository) > _REPOSITORY_LENGTH or not _REPOSITORY.fullmatch(repository):
        raise InvalidParameter(f"Illegal repository name: {repository}")


def check_tag(tag: str) -> None:
    """Raises InvalidParameter for what cannot be a tag: anything but up to 128 letters, digits and ``_.-``."""
    if not _TAG.fullmatch(tag):
        raise InvalidParameter(f"Illegal tag name: {tag}")


def familiar(reference: str) -> str:
    """The short form of what is written out in full: ``busybox`` of ``docker.io/library/busybox``."""
    for prefix in ("docker.io/", "index.docker.io/"):
        if reference.startswith(prefix):
            return reference.removeprefix(prefix).removeprefix("library/")
    return reference


def split_reference(reference: str) -> tuple[str, str]:
    """Repository and tag (or ``@`` digest) of what a user typed; the second is "" where none was given. Checks nothing."""
    repository, at, digest = reference.partition("@")
    if at:
        return repository, digest
    repository, _, tag = reference.rpartition(":")
    return (repository, tag) if repository and tag and "/" not in tag else (reference, "")
