"""The protocol of S3, spoken to a server on the loopback; needs the packages s3fs and moto."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import dopt
from dopt.errors import DataError, DoptError
from dopt.results.mirrors import mirrored
from dopt.results.places import place_at
from dopt.results.read import load
from dopt.results.store import Store


s3fs = pytest.importorskip("s3fs", reason="needs s3fs: pip install s3fs 'moto[server]'")
pytest.importorskip("moto.server", reason="needs moto: pip install s3fs 'moto[server]'")
ROOT = Path(dopt.__file__).parents[1]


@pytest.fixture(scope="module")
def server():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    settings = {
        "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port()),
        "AWS_ACCESS_KEY_ID": "name",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("bucket")
        yield settings
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def bucket(server, request):
    return f"s3://bucket/{request.node.name}/a study"


def test_a_study_is_written_resumed_merged_loaded_and_mirrored(bucket, put):
    with Store(bucket) as store:
        done = put(store, "a", 1, 2) | put(store, "b", 3)
        put(store, "b", 3, shift=1.0)
        store.merge()
        done |= put(store, "c", 4)
        with pytest.raises(DoptError, match=f"process {os.getpid()} on .* is writing to {bucket}"):
            Store(bucket)
    with Store(bucket) as store:
        assert store.finished() == done
        with mirrored(bucket) as folder:
            assert set(load(folder)[0]["run_id"]) == done
            (folder / "summary.csv").write_text("table")
        store.merge()
    runs, traces = load(bucket)
    assert set(runs["run_id"]) == done
    assert len(traces) == 12
    assert place_at(bucket).read("summary.csv") == b"table"
    pd.testing.assert_frame_equal(pd.read_parquet(f"{bucket}/runs.parquet"), runs)
    assert {*place_at(bucket).entries()} == {
        "meta.json",
        "runs.parquet",
        "summary.csv",
        "traces.parquet",
    }


def test_a_second_process_is_refused(bucket, put):
    code = "import sys; from dopt.results.store import Store; Store(sys.argv[1])"
    with Store(bucket) as store:
        other = subprocess.run(
            [sys.executable, "-c", code, bucket],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"DoptError: process {os.getpid()} on" in other.stderr
        put(store, "a", 1)


def test_a_lock_is_created_by_one_alone(bucket):
    place = place_at(bucket)
    place._create(".lock", b"one")
    place._create(".lock", b"two")
    assert place.read(".lock") == b"one"


def test_a_bucket_that_is_missing_is_a_sentence(server):
    with pytest.raises(DoptError, match=r"cannot write s3://absent/a/\.lock: .*does not exist"):
        Store("s3://absent/a")
    with pytest.raises(DataError, match="there are no results in s3://absent/a"):
        load("s3://absent/a")


def test_a_store_without_credentials_or_without_an_answer_is_a_sentence(server, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("HOME", "/nowhere")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(DoptError, match=r"cannot read s3://bucket/b.*credentials"):
        load("s3://bucket/b")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "name")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(DoptError, match=r"cannot read s3://bucket/b.*Could not connect"):
        load("s3://bucket/b")
    s3fs.S3FileSystem.clear_instance_cache()
