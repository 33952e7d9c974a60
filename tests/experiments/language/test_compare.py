import sys
from contextlib import contextmanager

import pandas as pd
import pytest
from compressing import small

from compressors.weights import HIGGS
from dopt.compression.budget import uniform
from dopt.compression.compress import How, compress
from dopt.errors import ConfigurationError, DataError, InterruptedRunError
from dopt.evaluation import cut, divergence
from dopt.models import load
from experiments.cli import parse
from experiments.language import compare as module
from experiments.language.compare import Job, compare
from experiments.language.options_compress import Compare, Compression


QUICK = Compression(estimate="gradients", alpha_windows=2, alpha_length=16, quiet=True)
TEXT = "The quick brown fox jumps over the lazy dog. " * 6


@pytest.fixture(autouse=True)
def _model(monkeypatch):
    monkeypatch.setattr(module, "load", lambda name: small())


@pytest.fixture
def options(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return Compare(
        "small",
        (path,),
        ("higgs", "rtn", "nf4"),
        (3.3,),
        p=(1, 2),
        window=32,
        windows=4,
        out=tmp_path / "out",
        compression=QUICK,
    )


def test_rows_are_what_single_steps_give_and_are_kept(options, tmp_path, capsys, monkeypatch):
    compare(options)
    said = capsys.readouterr().out
    found = pd.read_parquet(options.out / "compare.parquet")
    assert list(dict.fromkeys(found["method"])) == ["higgs p=1", "higgs p=2", "rtn"]
    assert "nf4 at 3.3 bits: nf4 needs 4." in " ".join(said.split())
    assert "a note" in said

    loaded = small()
    allocation = uniform(loaded.model.config, "higgs", 3.3, lambda how: how.p == 2)
    assert all(isinstance(how, HIGGS) for how in allocation.quantizers.values())
    compress(loaded, How(allocation.quantizers), tmp_path / "alone")
    windows = cut(loaded.tokenizer.encode(TEXT), 32).most(4)
    alone = divergence(load(tmp_path / "alone").model, loaded.model, windows)
    row = found[found["method"] == "higgs p=2"]
    assert row["kl"].to_numpy() == pytest.approx(alone.kl)
    assert row["nll"].to_numpy() == pytest.approx(alone.nll)
    assert row["bits"].iloc[0] == allocation.bits_a_weight
    assert not list((options.out / "models").iterdir())

    def never(*given, **more):
        raise AssertionError

    monkeypatch.setattr(sys.modules[compress.__module__], "_layer", never)
    compare(options)
    again = pd.read_parquet(options.out / "compare.parquet")
    pd.testing.assert_frame_equal(again, found)
    table = said[: said.index("nf4")]
    assert table in capsys.readouterr().out


def test_stopped_on_request(options, monkeypatch):
    @contextmanager
    def at_once():
        yield lambda: True

    monkeypatch.setattr(module, "signals", at_once)
    with pytest.raises(InterruptedRunError, match="finished rows are kept"):
        compare(options)


def test_jobs():
    options = Compare("m", (), ("higgs", "rtn"), (4.0, 3.0), dynamic=True, p=(1, 2))
    jobs = list(module._jobs(options))
    assert [job.label for job in jobs[:6]] == [
        "higgs p=1",
        "higgs p=1, dynamic",
        "higgs p=2",
        "higgs p=2, dynamic",
        "rtn",
        "rtn, dynamic",
    ]
    assert [job.bits for job in jobs] == [4.0] * 6 + [3.0] * 6
    assert Job("nf4", 4.25, None, False).label == "nf4"


def test_refusals(options, tmp_path):
    for change, error, match in (
        ({"methods": ("best",)}, ConfigurationError, "method 'best' is not known"),
        ({"text": ()}, ConfigurationError, "there is no text"),
        ({"text": (tmp_path / "none",)}, DataError, "none"),
        ({"methods": ("nf4",)}, ConfigurationError, "no method fits"),
    ):
        with pytest.raises(error, match=match):
            compare(Compare(**(vars(options) | change)))


def test_the_command_line(tmp_path):
    given = ["compare", "m", "--methods", "higgs", "rtn", "--bits", "4.25", "3", "--text", "t"]
    found = parse(given)
    assert (found.methods, found.bits) == (("higgs", "rtn"), (4.25, 3.0))
