"""What a driver's option ``size`` says."""

import pytest

from trioker.storage.driver import parse_size


@pytest.mark.parametrize(
    ("text", "size"), [("1048576", 2**20), ("10G", 10 * 2**30), ("512m", 2**29), ("3kb", 3072), ("2T", 2**41)]
)
def test_a_size_is_bytes_or_has_a_unit(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "8388608T", "-1", "1.5G", "G", "10 G", "1e9", "10X", "\u0661"])
def test_what_is_no_size_is_refused_by_name(text):
    with pytest.raises(ValueError, match="is not a size such as 10G"):
        parse_size(text)
