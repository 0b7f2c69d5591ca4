import os

import pytest

from trioker.linux.closing import closing


def test_a_descriptor_is_closed_at_the_end_of_its_block_however_it_ends():
    with pytest.raises(KeyError), closing(os.memfd_create("file")) as fd:
        raise KeyError
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
