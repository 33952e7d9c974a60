import json
import os
from pathlib import Path

import numpy as np
import pytest

from dopt.data import load_phone_speeds
from dopt.errors import DataError


@pytest.fixture
def listed(tmp_path):
    folder = tmp_path / "device_ai_benchmark"
    folder.mkdir()

    def write(text):
        (folder / "raw_ai_benchmark_list.json").write_text(text)
        return tmp_path

    return write


def phones(*scores):
    return json.dumps([{"Model": f"phone {i}", "CPU_F_AI_Score": s} for i, s in enumerate(scores)])


def test_speeds_are_relative_to_the_median(listed):
    found = load_phone_speeds(listed(phones("300", "100", "50")))
    assert found.names == ("phone 0", "phone 1", "phone 2")
    assert found.speeds.tolist() == [3.0, 1.0, 0.5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "lists no phone"),
        ("[", "is not a list of phones"),
        ("[1]", "is not a list of phones"),
        ('[{"Model": "x"}]', "is not a list of phones"),
        (phones("1", ""), "phone 1: CPU_F_AI_Score = '' is not a positive number"),
        (phones("0"), "CPU_F_AI_Score = '0'"),
        (phones("nan"), "CPU_F_AI_Score = 'nan'"),
        (phones("-3"), "CPU_F_AI_Score = '-3'"),
        (phones(None), "CPU_F_AI_Score = None"),
    ],
)
def test_what_is_no_list_is_refused(listed, text, message):
    with pytest.raises(DataError, match=message):
        load_phone_speeds(listed(text))


def test_absent_files_and_folders_are_refused(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        load_phone_speeds(tmp_path)
    monkeypatch.delenv("DOPT_DATA", raising=False)
    with pytest.raises(DataError, match="no data folder is given"):
        load_phone_speeds()


@pytest.mark.data
def test_the_real_list():
    path = Path(os.environ["DOPT_DATA"], "device_ai_benchmark", "raw_ai_benchmark_list.json")
    if not path.exists():
        pytest.skip(f"{path} is not there")
    found = load_phone_speeds()
    scores = np.array([float(phone["CPU_F_AI_Score"]) for phone in json.loads(path.read_text())])
    assert len(found.names) == 333
    assert np.median(found.speeds) == 1
    np.testing.assert_allclose(found.speeds * 1548, scores, rtol=1e-12)
    assert found.speeds.max() / found.speeds.min() == pytest.approx(41, abs=0.5)
