"""Times and sizes in words (behaviour.md sections 4 and 5)."""

import pytest

from trioker.api.v1_2.words import duration, progress, size, timestamp

SECOND, HOUR = 10**9, 3600 * 10**9
DAY = 24 * HOUR


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (-5 * SECOND, "Less than a second"), (0, "Less than a second"), (SECOND - 1, "Less than a second"), (SECOND, "1 seconds"),
        (60 * SECOND - 1, "59 seconds"), (60 * SECOND, "About a minute"), (120 * SECOND - 1, "About a minute"), (120 * SECOND, "2 minutes"),
        (HOUR - 1, "59 minutes"), (HOUR, "About an hour"), (2 * HOUR, "2 hours"), (48 * HOUR - 1, "47 hours"), (48 * HOUR, "2 days"),
        (14 * DAY - 1, "13 days"), (14 * DAY, "2 weeks"), (90 * DAY - 1, "12 weeks"), (90 * DAY, "3 months"), (730 * DAY - 1, "24 months"),
        (730 * DAY, "2 years"), (1500 * DAY, "4 years"),
    ],
)  # fmt: skip
def test_a_length_of_time_is_told_in_one_unit(length, words):
    assert duration(length) == words


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "0001-01-01T00:00:00Z"),
        (1_367_931_102_041_847_000, "2013-05-07T12:51:42.041847Z"),
        (1_367_931_102_000_000_001, "2013-05-07T12:51:42.000000001Z"),
        (1_367_931_102_000_000_000, "2013-05-07T12:51:42Z"),
        (-1_500_000_000, "1969-12-31T23:59:58.5Z"),
    ],
)
def test_a_time_is_rfc3339_with_the_digits_that_matter(time_ns, text):
    assert timestamp(time_ns) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (9476, "9.476 kB"),
        (94_860, "94.86 kB"),
        (180_116_135, "180.1 MB"),
        (10**21, "1000 EB"),
    ],
)
def test_a_size_has_four_digits(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ("current", "total", "text"), [(9476, 94_860, "9.476 kB/94.86 kB (10%)"), (4096, 0, "4096/? (n/a)")]
)
def test_progress_is_told_with_its_share(current, total, text):
    assert progress(current, total) == text
