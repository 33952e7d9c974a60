"""llama2.c's `tokenizer.bin`, read.

The file has the length of the longest piece (int32), then of each piece a float32 score, an int32
length, and its bytes; spaces are spaces. Pieces 0 to 2 are unknown, BOS and EOS, and 3 to 258 stand
for single bytes. Text generation ends at either BOS or EOS, as stories follow each other with BOS
between them.

Format: llama2.c, tokenizer.py and run.c.
"""

import struct
from pathlib import Path

from dopt.errors import DataError
from dopt.models.scored_tokenizer import ScoredTokenizer


_BOS, _EOS = 1, 2
_FIRST_BYTE = 3
_BYTES = range(_FIRST_BYTE, _FIRST_BYTE + 256)


def load_llama2c_tokenizer(path: str | Path) -> ScoredTokenizer:
    """The tokenizer in a `tokenizer.bin`.

    Raises:
        DataError: the file cannot be read, is cut, or has another form.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    pieces: list[bytes] = []
    scores: list[float] = []
    at = 4
    while at < len(content):
        if at + 8 > len(content):
            raise DataError(f"{path} is cut within piece {len(pieces)}; fetch it again")
        score, length = struct.unpack_from("<fi", content, at)
        at += 8
        if length < 0 or at + length > len(content):
            raise DataError(
                f"{path} is cut within piece {len(pieces)}, or is no tokenizer of llama2.c"
            )
        pieces.append(content[at : at + length])
        scores.append(score)
        at += length
    if pieces[_BYTES.start : _BYTES.stop] != [b"<0x%02X>" % byte for byte in range(256)]:
        raise DataError(
            f"{path} is no tokenizer of llama2.c: its tokens 3 to 258 are not the 256 bytes"
        )
    longest = struct.unpack_from("<i", content)[0]
    if max(map(len, pieces)) > longest:
        raise DataError(f"{path} has a piece longer than the {longest} bytes that it promises")
    return ScoredTokenizer(
        pieces, scores, single=_BYTES, silent=range(_FIRST_BYTE), bos=_BOS, eos=(_BOS, _EOS)
    )
