"""What a client wants of a container's streams."""

import attrs


@attrs.frozen
class AttachRequest:
    """Which streams, and whether from the log, live, or both (page, "Attach to a container")."""

    logs: bool = False
    stream: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
