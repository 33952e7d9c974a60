"""Pieces with scores, merged best score first: SentencePiece's byte-pair encoding.

A text is cut into its characters. Of all neighbours that are a piece together, those of the best
score are merged, the leftmost of these, until none are left; what is no piece then is spelled in
bytes of UTF-8.

Source: Kudo, Richardson, "SentencePiece", arXiv 1808.06226; Sennrich et al., arXiv 1508.07909.
"""

import heapq
from collections.abc import Collection, Sequence

from dopt.errors import ConfigurationError


class ScoredTokenizer:
    """Text to token numbers and back.

    Attributes:
        pieces: the bytes of each token; those of single bytes and of silent tokens are names.
        scores: how early two neighbours become this piece, the highest first.
        bos: the token in front of a text, None where the model wants none.
        eos: the tokens at which a text ends.
        single: the tokens of the bytes 0 to 255.
        silent: tokens that stand for no text.
        space_prefix: whether a text is taken to follow a space.
    """

    def __init__(
        self,
        pieces: list[bytes],
        scores: list[float],
        *,
        single: Sequence[int],
        silent: Collection[int],
        bos: int | None,
        eos: tuple[int, ...],
        space_prefix: bool = True,
    ) -> None:
        """A tokenizer.

        Args:
            pieces: see above.
            scores: see above.
            single: see above.
            silent: see above.
            bos: see above.
            eos: see above.
            space_prefix: see above.
        """
        self.pieces = pieces
        self.scores = scores
        self.bos = bos
        self.eos = eos
        self.single = list(single)
        self._bytes = {token: byte for byte, token in enumerate(single)}
        self.silent = frozenset(silent)
        self.space_prefix = space_prefix
        self._numbers: dict[bytes, int] = {}
        for number, piece in enumerate(pieces):
            if number not in self._bytes and number not in self.silent:
                self._numbers.setdefault(piece, number)

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without BOS; names such as <s> in it are text.

        Takes time n log n in its length n.
        """
        if not text:
            return []
        symbols = [c.encode("utf-8", "surrogatepass") for c in " " * self.space_prefix + text]
        tokens: list[int] = []
        for piece in self._merged(symbols):
            number = self._numbers.get(piece)
            tokens += [number] if number is not None else [self.single[byte] for byte in piece]
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens; silent ones have none, and the space in front of it is left out.

        Bytes that are no UTF-8 become U+FFFD.

        Raises:
            ConfigurationError: a number that is no token.
        """
        out = bytearray()
        at_start = self.space_prefix
        for token in tokens:
            if not 0 <= token < len(self.pieces):
                raise ConfigurationError(
                    f"token {token} is not in the vocabulary of 0 to {len(self.pieces) - 1}"
                )
            if token in self.silent:
                continue
            byte = self._bytes.get(token)
            piece = self.pieces[token] if byte is None else bytes([byte])
            out += piece[1:] if at_start and piece.startswith(b" ") else piece
            at_start = False
        return out.decode("utf-8", "replace")

    def _merged(self, symbols: list[bytes]) -> list[bytes]:
        n = len(symbols)
        after, before = list(range(1, n + 1)), list(range(-1, n - 1))
        alive = [True] * n
        waiting: list[tuple[float, int, bytes, bytes]] = []

        def offer(left: int) -> None:
            right = after[left] if left >= 0 else n
            if right >= n:
                return
            first, second = symbols[left], symbols[right]
            number = self._numbers.get(first + second)
            if number is not None:
                heapq.heappush(waiting, (-self.scores[number], left, first, second))

        for left in range(n - 1):
            offer(left)
        while waiting:
            _, left, first, second = heapq.heappop(waiting)
            right = after[left]
            # One of the two has been merged with another since.
            if not alive[left] or right >= n or (symbols[left], symbols[right]) != (first, second):
                continue
            symbols[left], alive[right] = first + second, False
            after[left] = after[right]
            if after[left] < n:
                before[after[left]] = left
            offer(before[left])
            offer(left)
        return [symbol for symbol, lives in zip(symbols, alive, strict=True) if lives]
