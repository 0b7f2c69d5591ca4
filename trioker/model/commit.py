"""What a client asks of a commit (page, "Create a new image from a container's changes")."""

import attrs

from trioker.model.container import Config


@attrs.frozen
class Commit:
    """One commit, decoded."""

    repository: str = ""
    tag: str = ""
    """The name the image gets; none without a repository."""
    comment: str = ""
    author: str = ""
    config: Config | None = None
    """What the body set: each field that is not empty overrides the container's own (behaviour.md section 0)."""
