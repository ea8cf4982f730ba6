"""Prints the figures as a table, with rich if it is there."""

from collections.abc import Sequence

from figures import Figure, Results

HEADINGS = ("what", "reference", "skybus", "ratio", "budget", "verdict")


def rows(figures: Sequence[Figure], results: Results) -> list[tuple[str, ...]]:
    """Return the cells of every row, medians and ratios formatted."""
    return [_row(figure, results) for figure in figures]


def show(table: list[tuple[str, ...]]) -> None:
    """Print the table to standard output."""
    try:
        from rich.console import Console
    except ImportError:
        _show_plain(table)
        return
    Console(width=None if Console().is_terminal else 140).print(_rich_table(table))


def _row(figure: Figure, results: Results) -> tuple[str, ...]:
    reference, skybus = results.reference.get(figure.against or figure.name), results.skybus.get(figure.name)
    ratio = f"{skybus / reference:.3g} ×" if reference and skybus else ""
    budget = figure.budget.text if figure.budget else ""
    verdict = figure.budget.verdict(figure.name, results) if figure.budget else ""
    cells = (_format(reference, figure.unit), _format(skybus, figure.unit))
    remarks = [f"{side}: {said[figure.name]}" for side, said in results.remarks.items() if figure.name in said]
    return (figure.title, *cells, ratio, budget, "\n".join(filter(None, (verdict, *remarks))))


def _format(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:.0f} {unit}" if abs(value) >= 100 else f"{value:.3g} {unit}"


def _show_plain(table: list[tuple[str, ...]]) -> None:
    lines = [HEADINGS, *table]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _rich_table(table: list[tuple[str, ...]]) -> object:
    from rich.table import Table

    drawn = Table(*HEADINGS)
    for column in drawn.columns[1:4]:
        column.justify = "right"
    for line in table:
        drawn.add_row(*line, style="bold red" if "MISSED" in line[-1] else None)
    return drawn
