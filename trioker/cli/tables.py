"""Tables for people."""

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as text, columns as wide as their widest cell. What a terminal would not show as a character is shown as ``?``."""
    cells = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)
    return "".join(f"{line}\n" for line in lines)


def _printable(cell: str) -> str:
    """A container's command is its maker's text: it must not command the terminal of who looks at it."""
    return cell if cell.isprintable() else "".join(each if each.isprintable() else "?" for each in cell)
