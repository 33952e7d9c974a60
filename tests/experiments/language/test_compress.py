import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from compressing import CONFIG, small

from dopt.errors import ConfigurationError, DataError
from dopt.evaluation import divergence
from dopt.models import load
from experiments.cli import parse
from experiments.language import compress as module
from experiments.language.compress import compress_command, settings_of
from experiments.language.options_compress import Compress, Compression
from experiments.language.tokens import alpha_windows


QUICK = Compression(
    estimate="gradients", alpha_windows=2, alpha_length=16, calibration_windows=4, quiet=True
)
TEXT = "The quick brown fox jumps over the lazy dog. " * 8


@pytest.fixture(autouse=True)
def _model(monkeypatch):
    monkeypatch.setattr(module, "load", lambda name: small())


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def test_uniform(tmp_path, capsys):
    folder = tmp_path / "out"
    compress_command(Compress("small", folder, bits=3.3, p=2, compression=QUICK))
    said = capsys.readouterr().out
    manifest = json.loads((folder / "dopt_compressed.json").read_bytes())
    weights = 3 * (4 * 64 * 64 + 3 * 96 * 64)
    assert manifest["bits"]["matrices"] <= 3.3 * weights
    assert f"{manifest['bits']['matrices'] / weights:.4f} bits a weight" in said
    assert "HIGGS p=2" in said
    assert "a note" in said
    assert f"{sum(m['bytes'] for m in manifest['files'].values()) / 1e6:.1f} MB on disk" in said
    assert not (folder / "alpha.csv").exists()
    assert load(folder).model.config == CONFIG


def test_dynamic_measures_alpha_and_says_what_came_of_it(tmp_path, capsys):
    folder = tmp_path / "out"
    compress_command(Compress("small", folder, bits=3.3, dynamic=True, p=2, compression=QUICK))
    said = " ".join(capsys.readouterr().out.split())
    rows = pd.read_csv(folder / "alpha.csv")
    assert list(rows["kind"][:7]) == ["q", "k", "v", "o", "gate", "up", "down"]
    assert len(rows) == 21
    predicted = float((rows["alpha"] * rows["error"]).sum())
    windows = alpha_windows(QUICK, small())
    measured = divergence(load(folder).model, small().model, windows).mean
    assert f"{predicted:.5f} nats a token predicted by Σ α·t², {measured:.5f} measured" in said
    assert (folder / "bits.png").stat().st_size > 10_000
    assert (folder / "bits.pdf").exists()
    # α counts: of two matrices of one shape the more sensitive has no fewer bits.
    for _, same in rows.groupby("kind"):
        ordered = same.sort_values("alpha")
        assert (np.diff(ordered["bits"]) >= -1e-9).all()


def test_noise_keeps_its_measurements_and_goes_on(tmp_path, capsys):
    noise = dataclasses.replace(QUICK, estimate="noise", together="layer", quiet=False)
    options = Compress("small", tmp_path, bits=3.3, dynamic=True, p=2, compression=noise)
    compress_command(options)
    streams = capsys.readouterr()
    assert "α: 6 measurements, about" in streams.err
    before = (tmp_path / "alpha.jsonl").read_bytes()
    compress_command(options)
    assert "measurements" not in capsys.readouterr().err
    assert (tmp_path / "alpha.jsonl").read_bytes() == before


def test_perplexity_prints_the_first_order(tmp_path, capsys, text):
    noise = dataclasses.replace(
        QUICK, estimate="noise", together="layer", alpha="text", alpha_text=(text,)
    )
    compress_command(
        Compress(
            "small", tmp_path, bits=3.3, dynamic=True, metric="perplexity", p=2, compression=noise
        )
    )
    said = " ".join(capsys.readouterr().out.split())
    assert "in first order" in said
    rows = pd.read_csv(tmp_path / "alpha.csv")
    assert (rows["first_order"] != 0).all()


def test_methods_with_hessians_are_calibrated(tmp_path, text, capsys):
    calibrated = dataclasses.replace(QUICK, calibrate=(text,), calibration_length=16)
    options = Compress("small", tmp_path / "out", "gptq", 4.3, compression=calibrated)
    compress_command(options)
    manifest = json.loads((tmp_path / "out" / "dopt_compressed.json").read_bytes())
    assert manifest["plan"]["calibration"]["windows"] == 4
    assert "GPTQ bits=" in capsys.readouterr().out


def test_refusals(tmp_path, text):
    def refused(error, match, **changes):
        more = {k: v for k, v in changes.items() if k in Compression.__dataclass_fields__}
        rest = {k: v for k, v in changes.items() if k not in more}
        options = Compress(
            "small", tmp_path / "out", compression=dataclasses.replace(QUICK, **more), **rest
        )
        with pytest.raises(error, match=match):
            compress_command(options)

    refused(ConfigurationError, "gptq needs text to calibrate on", method="gptq")
    refused(ConfigurationError, "method 'best' is not known", method="best")
    refused(ConfigurationError, "higgs has no such settings", group=48)
    refused(ConfigurationError, "belong together", dynamic=True, alpha="text")
    refused(ConfigurationError, "belong together", dynamic=True, alpha_text=(text,))
    refused(ConfigurationError, "give --estimate noise", dynamic=True, metric="perplexity")
    refused(DataError, r"none\.txt", method="gptq", calibrate=(tmp_path / "none.txt",))
    assert not (tmp_path / "out" / "shards").exists()


def test_settings_in_words():
    assert settings_of({"method": "HIGGS", "p": 2, "n": 64, "group": None}) == "HIGGS p=2, n=64"
    assert settings_of({"method": "MXFP4"}) == "MXFP4"


def test_the_command_line(tmp_path):
    given = ["compress", "m", "--bits", "3.25", "--dynamic", "--estimate", "gradients"]
    options = parse([*given, "--out", str(tmp_path), "--levels", "0.01", "0.02"])
    assert options == Compress(
        "m",
        tmp_path,
        bits=3.25,
        dynamic=True,
        compression=Compression(estimate="gradients", levels=(0.01, 0.02)),
    )
