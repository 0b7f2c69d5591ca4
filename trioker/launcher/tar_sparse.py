"""Sparse files in tar: where a member's stored bytes belong (the GNU tar manual, "Storing Sparse Files").

Four shapes of one map of (offset, length): a row of octal pairs in the header (type S), and three in pax records.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from trioker.launcher.tar_header import BLOCK, FILE, Entry, length, number
from trioker.launcher.tar_pax import decimal

Take = Callable[[int], bytes]
Pieces = Sequence[tuple[int, int]]

MAP_LIMIT = 2**20
"""Bytes a map may take in the archive: 40,000 pieces and more, the largest that is taken from any header."""

_PAIR = 24
_HEADER_PAIRS, _HEADER_MORE, _HEADER_SIZE = range(386, 386 + 4 * _PAIR, _PAIR), 482, 483
_BLOCK_PAIRS, _BLOCK_MORE = range(0, 21 * _PAIR, _PAIR), 504


def old_sparse(entry: Entry, block: bytes, take: Take) -> Entry:
    """GNU's first format: pairs in the header and in as many blocks behind it as it takes. Raises ValueError."""
    pairs = _octal_pairs(block, _HEADER_PAIRS)
    more = block[_HEADER_MORE]
    while more:
        if len(pairs) * _PAIR > MAP_LIMIT:
            raise ValueError("the sparse map is too long")
        extension = take(BLOCK)
        pairs += _octal_pairs(extension, _BLOCK_PAIRS)
        more = extension[_BLOCK_MORE]
    return _spread(entry._replace(kind=FILE), number(block[_HEADER_SIZE : _HEADER_SIZE + 12]), pairs)


def pax_sparse(entry: Entry, records: Mapping[bytes, bytes], take: Take) -> Entry:
    """The formats 0.0, 0.1 and 1.0; an entry without sparse records comes back as it is. Raises ValueError."""
    size = records.get(b"GNU.sparse.realsize") or records.get(b"GNU.sparse.size")
    if size is None:
        return entry
    entry = entry._replace(name=records.get(b"GNU.sparse.name") or entry.name)
    if b"GNU.sparse.major" not in records:
        numbers = [decimal(each) for each in records.get(b"GNU.sparse.map", b"").split(b",") if each]
        return _spread(entry, decimal(size), _pairs(numbers))
    version = records[b"GNU.sparse.major"], records.get(b"GNU.sparse.minor")
    if version != (b"1", b"0"):
        raise ValueError(f"unknown sparse format {version}")
    return _spread(*_leading_map(entry, decimal(size), take))


def _leading_map(entry: Entry, size: int, take: Take) -> tuple[Entry, int, Pieces]:
    """Format 1.0: the map is text, a number a line, the count of pairs first, in whole blocks before the data."""
    data = bytearray(take(BLOCK))
    count = decimal(bytes(data.partition(b"\n")[0]))
    lines = data.count(b"\n")
    while lines < 2 * count + 1:
        if len(data) >= min(MAP_LIMIT, entry.stored):
            raise ValueError("the sparse map is too long")
        block = take(BLOCK)
        lines += block.count(b"\n")
        data += block
    numbers = [decimal(each) for each in bytes(data).split(b"\n")[1 : 2 * count + 1]]
    return entry._replace(stored=length(entry.stored - len(data))), size, _pairs(numbers)


def _octal_pairs(block: bytes, offsets: Iterable[int]) -> list[tuple[int, int]]:
    """Offset and length, 12 bytes each; an offset field of NUL ends the row."""
    return [(number(block[at : at + 12]), number(block[at + 12 : at + _PAIR])) for at in offsets if block[at]]


def _pairs(numbers: list[int]) -> Pieces:
    if len(numbers) % 2:
        raise ValueError("the sparse map is odd")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _spread(entry: Entry, size: int, pieces: Pieces) -> Entry:
    """Check the map: pieces rise, none reaches beyond the file, and together they are what is stored."""
    end = 0
    for offset, count in pieces:
        if offset < end or count < 0:
            raise ValueError("the sparse map does not rise")
        end = offset + count
    if end > length(size):
        raise ValueError("the sparse map reaches beyond the file's end")
    if sum(count for _, count in pieces) != entry.stored:
        raise ValueError("the sparse map does not match the stored size")
    return entry._replace(size=size, pieces=pieces)
