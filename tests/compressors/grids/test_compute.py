import numpy as np
import pytest

from compressors.grids import compute as module
from compressors.grids import load_grid, shipped_sizes, vector
from compressors.grids.compute import SIZES, main


P, N = 2, 5


@pytest.fixture
def _short(monkeypatch):
    """Two attempts of 20 rounds, small samples."""
    plan = vector.Plan(attempts=2, rounds=20, final_sample=10)
    for place in (vector, module):
        monkeypatch.setattr(place, "plan", lambda p, n: plan)
    monkeypatch.setattr(vector, "REPLICATE", 1 << 12)


def call(folder):
    main(["--p", str(P), "--n", str(N), "--out", str(folder)])


def interrupted(folder, monkeypatch, rounds):
    """A call that is cut off after so many rounds."""
    advance, done = module.advance, []

    def cut(training):
        if len(done) == rounds:
            raise KeyboardInterrupt
        done.append(training.round)
        return advance(training)

    with monkeypatch.context() as patch:
        patch.setattr(module, "advance", cut)
        patch.setattr(module, "SAVED_EVERY", 0.0)
        with pytest.raises(KeyboardInterrupt):
            call(folder)
    return done


@pytest.mark.usefixtures("_short")
def test_a_call_goes_on_where_it_was_cut_off(tmp_path, monkeypatch, capsys):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    call(whole)
    first = interrupted(parts, monkeypatch, 25)
    assert [file.name for file in parts.iterdir()] == ["gaussian_2_5.state.npz"]
    second = interrupted(parts, monkeypatch, 3)
    assert (first[-1], second[0]) == (24, 25)
    call(parts)
    name = "gaussian_2_5.npz"
    assert [file.name for file in parts.iterdir()] == [name]
    assert (parts / name).read_bytes() == (whole / name).read_bytes()
    trained = load_grid(parts / name)
    assert trained.grid.points.shape == (N, P)
    capsys.readouterr()
    call(parts)
    assert capsys.readouterr().out == "p = 2  n =     5  is there already\n"


def test_a_state_that_is_cut_is_begun_anew(tmp_path):
    state = tmp_path / "gaussian_2_5.state.npz"
    for content in (b"", b"PK\x03\x04 cut"):
        state.write_bytes(content)
        training = module._resumed(state, P, N)
        assert training.round == 0
        np.testing.assert_array_equal(training.points, np.zeros((N, P)))


def test_what_comes_with_the_package_is_what_the_command_computes():
    shipped = {(p, n) for p in (2, 3, 4) for n in shipped_sizes(p)}
    assert shipped <= set(SIZES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--p", "2"], "give both or neither"),
        (["--p", "1", "--n", "16"], "give 2, 3 or 4"),
        (["--p", "2", "--n", "1"], "give from 2 to 65536"),
    ],
)
def test_arguments_that_are_refused(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([*arguments, "--out", str(tmp_path / "new")])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
