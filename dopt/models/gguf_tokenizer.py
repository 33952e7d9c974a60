"""The tokenizer that a GGUF file carries.

Kind "gpt2" is byte-pair encoding on bytes: a text is split by regular expressions, one after the
other, which the setting `tokenizer.ggml.pre` names; each part is spelled in bytes and merged in the
order of the merges. Kind "llama" merges pieces by their scores. Control tokens are not read from a
text, and have no text; tokens of the user are found in a text before it is split.

Format: ggml's docs/gguf.md; the expressions are those of llama.cpp (src/llama-vocab.cpp), which are
the models' own.
"""

from pathlib import Path
from typing import Any

from dopt.errors import DataError, UnsupportedError
from dopt.models.gguf_file import setting
from dopt.models.package_tokenizer import PackageTokenizer
from dopt.models.packages import require
from dopt.models.scored_tokenizer import ScoredTokenizer
from dopt.models.tokenizer import Tokenizer


TOKENIZER_KIND = "tokenizer.ggml.model"
"""The setting that a file with a tokenizer has."""

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_ENGLISH_ENDINGS = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = (rf"{_ENGLISH_ENDINGS}|{_WORDS}|\p{{N}}{{1,3}}|{_REST}",)

SPLITS: dict[str, tuple[str, ...]] = {
    "default": (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"),
    "gpt-2": (_GPT2,),
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "qwen2": (rf"{_ENGLISH_ENDINGS}|{_WORDS}|\p{{N}}|{_REST}",),
    "smollm": (r"\p{N}", _GPT2),
}
"""The expressions of each `pre`."""

_ENDS = ("<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>")

_UNKNOWN, _CONTROL, _USER, _UNUSED, _BYTE = 2, 3, 4, 5, 6


def tokenizer_of(reader: Any, path: Path) -> Tokenizer:
    """The tokenizer in an open GGUF file.

    Args:
        reader: from `open_gguf`.
        path: of the file, for messages.

    Raises:
        DataError: the file has none, or its parts do not fit together.
        UnsupportedError: a kind, or a way to split texts, that is not known; an absent package.
    """
    try:
        kind = setting(reader, TOKENIZER_KIND)
        if kind == "gpt2":
            return _byte_pairs(reader)
        if kind == "llama":
            return _scored(reader)
        raise UnsupportedError(f"the tokenizer is of kind {kind!r}; known are gpt2 and llama")
    except (DataError, UnsupportedError) as error:
        raise type(error)(f"{path}: {error}") from error


def _byte_pairs(reader: Any) -> PackageTokenizer:
    pre = setting(reader, "tokenizer.ggml.pre", "default")
    if pre not in SPLITS:
        raise UnsupportedError(
            f"texts are split for {pre!r}; known are {', '.join(SPLITS)}: put the "
            "model's tokenizer.json beside the file"
        )
    require("tokenizers")
    from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
    from tokenizers import Tokenizer as Engine

    tokens, types = _tokens(reader)
    numbers = {token: i for i, token in enumerate(tokens)}
    if len(numbers) < len(tokens):
        raise DataError(f"{len(tokens) - len(numbers)} tokens are there twice")
    merges = [_pair(merge) for merge in setting(reader, "tokenizer.ggml.merges")]
    try:
        # Llama 3 takes a part that is a token as this token, however it merges.
        model = models.BPE(numbers, merges, ignore_merges=SPLITS[pre] is _LLAMA3)
    except Exception as error:
        raise DataError(f"the merges do not fit the tokens: {error}") from error
    engine = Engine(model)
    parts = [pre_tokenizers.Split(Regex(split), "isolated") for split in SPLITS[pre]]
    spelled = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    engine.pre_tokenizer = pre_tokenizers.Sequence([*parts, spelled])
    engine.decoder = decoders.ByteLevel()
    kinds = list(zip(tokens, types, strict=True))
    special = [token for token, kind in kinds if kind in (_UNKNOWN, _CONTROL)]
    users = [token for token, kind in kinds if kind == _USER]
    engine.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    engine.add_tokens([AddedToken(token, normalized=False) for token in users])
    return PackageTokenizer(
        engine,
        bos=_bos(reader, default=SPLITS[pre] is _LLAMA3),
        eos=_eos(reader),
        unspelled=bytes(byte for byte, letter in byte_letters().items() if letter not in numbers),
    )


def byte_letters() -> dict[int, str]:
    """The letter that stands for each byte in the tokens of a byte-level encoding (GPT-2).

    Printable characters of Latin-1 stand for themselves, the others for those from U+0100 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(0x100 + i) for i, byte in enumerate(others)
    }


def _scored(reader: Any) -> ScoredTokenizer:
    tokens, types = _tokens(reader)
    if _USER in types:
        raise UnsupportedError(
            "tokens of the user in a tokenizer of kind llama; put the model's tokenizer.json "
            "beside the file"
        )
    scores = setting(reader, "tokenizer.ggml.scores")
    single = {token: i for i, token in enumerate(tokens) if types[i] == _BYTE}
    names = [f"<0x{byte:02X}>" for byte in range(256)]
    if len(scores) != len(tokens) or not set(names) <= single.keys():
        raise DataError("there is not a score for each token, or not a token for each byte")
    return ScoredTokenizer(
        [token.replace("\u2581", " ").encode() for token in tokens],
        [float(score) for score in scores],
        single=[single[name] for name in names],
        silent=[i for i, kind in enumerate(types) if kind in (_UNKNOWN, _CONTROL, _UNUSED)],
        bos=_bos(reader, default=True),
        eos=_eos(reader),
        space_prefix=bool(setting(reader, "tokenizer.ggml.add_space_prefix", True)),
    )


def _tokens(reader: Any) -> tuple[list[str], list[int]]:
    tokens = list(setting(reader, "tokenizer.ggml.tokens"))
    types = list(setting(reader, "tokenizer.ggml.token_type", [1] * len(tokens)))
    if len(types) != len(tokens):
        raise DataError(f"there are {len(tokens)} tokens, but types of {len(types)}")
    return tokens, types


def _pair(merge: str) -> tuple[str, str]:
    at = merge.find(" ", 1)
    if at < 0:
        raise DataError(f"the merge {merge!r} does not name two tokens")
    return merge[:at], merge[at + 1 :]


def _bos(reader: Any, *, default: bool) -> int | None:
    if not setting(reader, "tokenizer.ggml.add_bos_token", default):
        return None
    return int(setting(reader, "tokenizer.ggml.bos_token_id"))


def _eos(reader: Any) -> tuple[int, ...]:
    """Ends of texts and of turns: those that settings name, and control tokens of known names."""
    named = (reader.get_field(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom"))
    tokens, types = _tokens(reader)
    known = (tokens.index(token) for token in _ENDS if token in tokens)
    ends = [int(end.contents()) for end in named if end is not None]
    return tuple(dict.fromkeys([*ends, *(i for i in known if types[i] == _CONTROL)]))
