"""Parser of numeric text tables, based on pyarrow."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from harnest.core.errors import DataError

Number = TypeVar("Number", np.float32, np.int64)


def parse(text: bytes, columns: int, dtype: type[Number], where: str) -> NDArray[Number]:
    """Parse a table of numbers separated by blanks, without a header.

    Any number of blanks may precede, separate and follow the columns. Parsing releases the GIL, so
    several threads can parse texts in parallel.

    Args:
        text: The table.
        columns: The number of columns.
        dtype: The type of the numbers.
        where: Description of the text, for messages.

    Returns:
        The numbers, (lines, columns).

    Raises:
        DataError: A line has another number of columns, or a value is not of type ``dtype``.
    """
    import pyarrow

    try:
        try:
            table = _parse(text, columns, dtype)
        except pyarrow.ArrowInvalid:
            # Only on failure: normalizing blanks takes half as long as parsing.
            table = _parse(_single_blanks(text), columns, dtype)
    except pyarrow.ArrowInvalid as error:
        problem = " ".join(str(error).split())
        raise DataError(
            f"{where} is not a table of {columns} columns of numbers ({problem}): is it damaged, "
            "or of another data set?"
        ) from error
    numbers = np.empty((table.num_rows, columns), dtype)
    for column in range(columns):
        numbers[:, column] = table.column(column).to_numpy()
    return numbers


def _parse(text: bytes, columns: int, dtype: type[Number]) -> Any:
    import pyarrow
    from pyarrow import csv

    names = [str(column) for column in range(columns)]
    return csv.read_csv(
        pyarrow.BufferReader(text),
        # A single block, so that each column is one contiguous array.
        read_options=csv.ReadOptions(
            column_names=names, use_threads=False, block_size=len(text) + 1
        ),
        parse_options=csv.ParseOptions(delimiter=" ", quote_char=False),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(names, pyarrow.from_numpy_dtype(dtype)), null_values=[]
        ),
    )


def _single_blanks(text: bytes) -> bytes:
    """Return ``text`` with one blank between columns, and none at the ends of lines."""
    characters = np.frombuffer(text, np.uint8)
    keep = characters != ord(" ")
    keep[1:] |= characters[:-1] > ord(" ")  # keep a blank that follows a column
    text = characters[keep].tobytes()
    return text.replace(b" \n", b"\n").replace(b" \r", b"\r").rstrip(b" ")
