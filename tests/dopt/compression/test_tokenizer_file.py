import json

import pytest

from dopt.compression import tokenizer_file
from dopt.errors import SchemaError, UnsupportedError
from dopt.models.package_tokenizer import PackageTokenizer
from dopt.models.scored_tokenizer import ScoredTokenizer


TEXT = "The café said:  hello\n\n<s> 42 times 🙂"


def package():
    tokenizers = pytest.importorskip("tokenizers")
    engine = tokenizers.Tokenizer(tokenizers.models.BPE())
    engine.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = tokenizers.decoders.ByteLevel()
    letters = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<s>"], initial_alphabet=letters, show_progress=False
    )
    engine.train_from_iterator([TEXT] * 3, trainer)
    return PackageTokenizer(engine, bos=0, eos=(0, 3), unspelled=b"\x00\xff")


def scored():
    pieces = [b"<unk>", b"<s>", *(b"<0x%02X>" % byte for byte in range(256)), b" h", b" he"]
    scores = [0.0] * 258 + [-1.1, -0.1]
    return ScoredTokenizer(
        pieces,
        scores,
        single=range(2, 258),
        silent=[0, 1],
        bos=None,
        eos=(1,),
        space_prefix=False,
    )


@pytest.mark.parametrize("make", [package, scored])
def test_a_tokenizer_comes_back(make):
    tokenizer = make()
    description, content = tokenizer_file.written(tokenizer)
    back = tokenizer_file.read(json.loads(json.dumps(description)), content)
    assert type(back) is type(tokenizer)
    assert back.encode(TEXT) == tokenizer.encode(TEXT)
    assert back.decode(back.encode(TEXT)) == TEXT
    assert (back.bos, back.eos) == (tokenizer.bos, tokenizer.eos)
    assert back.vocabulary == tokenizer.vocabulary
    assert tokenizer_file.written(back) == (description, content)


def test_what_a_package_tokenizer_cannot_spell_stays_refused():
    tokenizer = package()
    back = tokenizer_file.read(*tokenizer_file.written(tokenizer))
    assert back.unspelled == tokenizer.unspelled


def test_other_kinds_are_refused():
    class Own:
        vocabulary, bos, eos = 1, None, ()

        def encode(self, text):
            return []

        def decode(self, tokens):
            return ""

    with pytest.raises(UnsupportedError, match="of type Own"):
        tokenizer_file.written(Own())
    with pytest.raises(SchemaError, match=r"tokenizer\.bin"):
        tokenizer_file.read({"file": "tokenizer.bin", "bos": None, "eos": []}, b"")
