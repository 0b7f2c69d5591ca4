"""Build contexts in memory, from the members of ``tars``."""

import io

from trioker.images.build.context import index
from trioker.images.build.stream import tar_of


def context_of(tar, max_bytes=2**24):
    stream = io.BytesIO(tar)
    return index(lambda: stream.read(1000), max_bytes=max_bytes)


def opener(tar):
    """What gives ``tar_of`` the files of a context."""
    return lambda entry: (tar[entry.offset : entry.offset + entry.stored],)


def written(placed, tar=b"", **options):
    return b"".join(tar_of(placed, opener(tar), **options))
