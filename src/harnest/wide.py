"""Tables that are never cut: a narrow terminal wraps their lines, a file gets them whole."""

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table


def print_wide(table: Table) -> None:
    """Print ``table`` as wide as it is."""
    console = Console(highlight=False)
    console.width = max(
        console.width, Measurement.get(console, console.options.update(width=9999), table).maximum
    )
    console.print(table)
