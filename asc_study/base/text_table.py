"""Tables for people: plain text in columns."""

from collections.abc import Collection, Sequence


def text_table(lines: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """Lay out cells in columns; the first line is the header and is ruled off.

    Parameters
    ----------
    lines
        Lines of equally many cells.
    left
        The columns whose cells stand at the left; the others, figures, stand at the right.
    """
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    shown = [
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([shown[0], "  ".join("-" * width for width in widths), *shown[1:]])


def some(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
