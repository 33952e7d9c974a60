"""Text files as they are given to a tokenizer."""

from pathlib import Path

from dopt.errors import DataError


def read_text(path: str | Path) -> str:
    """The text of a file in UTF-8, with CRLF as LF and without a byte-order mark.

    Line ends change how many tokens a text has, so that they are made the same everywhere.

    Raises:
        DataError: the file cannot be read, is not text in UTF-8, or is empty.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if b"\0" in content:
        raise DataError(f"{path} holds zero bytes, so it is no text; give a text file in UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 at byte {error.start}; convert it, or give a text file"
        ) from error
    if not text.strip():
        raise DataError(f"{path} is empty; give a file with text")
    return text.replace("\r\n", "\n")
