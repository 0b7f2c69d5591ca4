"""Tables for people."""

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as text, columns as wide as their widest cell. What a terminal would not show as a character is shown as ``?``."""
    columns = widths(rows)
    return "".join(line(row, columns) for row in rows)


def widths(rows: Sequence[Sequence[str]]) -> Sequence[int]:
    """Of the columns of these rows."""
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def line(row: Sequence[str], columns: Sequence[int]) -> str:
    """One row of a table whose columns have these widths."""
    cells = (_printable(cell).ljust(width) for cell, width in zip(row, columns, strict=True))
    return "   ".join(cells).rstrip() + "\n"


def _printable(cell: str) -> str:
    """A container's command is its maker's text: it must not command the terminal of who looks at it."""
    return cell if cell.isprintable() else "".join(each if each.isprintable() else "?" for each in cell)
