"""What a tokenizer is."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class Tokenizer(Protocol):
    """Text to token numbers and back."""

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""

    @property
    def bos(self) -> int | None:
        """The token in front of a text, None where the model wants none."""

    @property
    def eos(self) -> tuple[int, ...]:
        """The tokens at which a text ends."""

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without BOS."""

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens."""
