"""llama2.c's `tokenizer.bin`: pieces with scores, merged best score first.

The file has the length of the longest piece (int32), then of each piece a float32 score, an int32
length, and its bytes; spaces are spaces. Pieces 0 to 2 are unknown, BOS and EOS, and 3 to 258 stand
for single bytes, which spell what has no piece.

Format and algorithm: llama2.c, tokenizer.py and run.c, a byte-pair encoding after SentencePiece.
"""

import heapq
import struct
from pathlib import Path

from dopt.errors import ConfigurationError, DataError


_FIRST_BYTE = 3
_SPECIAL = _FIRST_BYTE + 256


class Llama2cTokenizer:
    """Text to token numbers and back.

    Attributes:
        pieces: the bytes of each token.
        scores: how early two neighbours become this piece, the highest first.
        bos: the token in front of every text.
        eos: the token behind a text.
    """

    bos = 1
    eos = 2

    def __init__(self, pieces: list[bytes], scores: list[float]) -> None:
        self.pieces = pieces
        self.scores = scores
        self._numbers: dict[bytes, int] = {}
        for number in range(_SPECIAL, len(pieces)):
            self._numbers.setdefault(pieces[number], number)

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return len(self.pieces)

    def encode(self, text: str, *, bos: bool = True) -> list[int]:
        """The tokens of a text, which is taken to follow a space.

        Takes time n log n in its length n.

        Args:
            text: any text; what has no piece is spelled in bytes of UTF-8.
            bos: whether to put BOS in front.
        """
        front = [self.bos] if bos else []
        if not text:
            return front
        tokens: list[int] = []
        for character in " " + text:
            raw = character.encode("utf-8", "surrogatepass")
            number = self._numbers.get(raw)
            tokens += [number] if number is not None else [_FIRST_BYTE + byte for byte in raw]
        return front + self._merged(tokens)

    def decode(self, tokens: list[int]) -> str:
        """The text of tokens; BOS and EOS have none, and the space behind BOS is left out.

        Bytes that are no UTF-8 become U+FFFD.

        Raises:
            ConfigurationError: a number that is no token.
        """
        out = bytearray()
        before = None
        for token in tokens:
            if not 0 <= token < len(self.pieces):
                raise ConfigurationError(
                    f"token {token} is not in the vocabulary of 0 to {len(self.pieces) - 1}"
                )
            if _FIRST_BYTE <= token < _SPECIAL:
                out.append(token - _FIRST_BYTE)
            elif token not in (self.bos, self.eos):
                piece = self.pieces[token]
                out += piece[1:] if before == self.bos and piece.startswith(b" ") else piece
            before = token
        return out.decode("utf-8", "replace")

    def _merged(self, tokens: list[int]) -> list[int]:
        """Merges the neighbours of the best score, the leftmost of these, until none are left."""
        n = len(tokens)
        after, before = list(range(1, n + 1)), list(range(-1, n - 1))
        alive = [True] * n
        waiting: list[tuple[float, int, int, int, int]] = []

        def offer(left: int) -> None:
            right = after[left] if left >= 0 else n
            if right >= n:
                return
            pair = tokens[left], tokens[right]
            number = self._numbers.get(self.pieces[pair[0]] + self.pieces[pair[1]])
            if number is not None:
                heapq.heappush(waiting, (-self.scores[number], left, *pair, number))

        for left in range(n - 1):
            offer(left)
        while waiting:
            _, left, first, second, number = heapq.heappop(waiting)
            right = after[left]
            # One of the two has been merged with another since.
            if not alive[left] or right >= n or (tokens[left], tokens[right]) != (first, second):
                continue
            tokens[left], alive[right] = number, False
            after[left] = after[right]
            if after[left] < n:
                before[after[left]] = left
            offer(before[left])
            offer(left)
        return [token for token, lives in zip(tokens, alive, strict=True) if lives]


def load_llama2c_tokenizer(path: str | Path) -> Llama2cTokenizer:
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
    if pieces[_FIRST_BYTE:_SPECIAL] != [b"<0x%02X>" % byte for byte in range(256)]:
        raise DataError(
            f"{path} is no tokenizer of llama2.c: its tokens 3 to 258 are not the 256 bytes"
        )
    longest = struct.unpack_from("<i", content)[0]
    if max(map(len, pieces)) > longest:
        raise DataError(f"{path} has a piece longer than the {longest} bytes that it promises")
    return Llama2cTokenizer(pieces, scores)
