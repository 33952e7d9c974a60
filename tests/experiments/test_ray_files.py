"""The example cluster files: what Ray and KubeRay would read of them, and what the page names."""

import json
import re
from pathlib import Path

import pytest

from experiments import cli


FOLDER = Path(__file__).parents[2] / "experiments" / "ray"


@pytest.fixture
def read():
    """A file with its brackets filled."""
    yaml = pytest.importorskip("yaml")

    def read(name):
        return yaml.safe_load(re.sub(r"<([^<>]*)>", r"\1", (FOLDER / name).read_text()))

    return read


@pytest.mark.ray
def test_the_cluster_file_fits_the_schema_of_ray(read):
    import jsonschema
    import ray

    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    cluster = read("cluster.yaml")
    jsonschema.validate(cluster, schema)
    assert cluster["provider"]["worker_ips"] == ["10.0.0.2", "10.0.0.3"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(cluster | {"workers": 2}, schema)


def commands():
    """All commands `dopt ...` of the page and the files."""
    text = "\n".join((FOLDER / name).read_text() for name in ("README.md", "rayjob.yaml"))
    return re.findall(r"^(?:  entrypoint: )?dopt ((?:sweep|measure-cluster) [^\n#]*)$", text, re.M)


def test_the_commands_are_understood():
    found = commands()
    assert len(found) == 4
    for line in found:
        given = cli.parse(line.split()).study
        assert given.out
        assert given.ray in (None, "auto", "10.0.0.1:6379")


def test_the_job_asks_for_what_it_uses(read):
    job = read("rayjob.yaml")
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    (workers,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert workers["replicas"] == workers["maxReplicas"]
    for group in (job["spec"]["rayClusterSpec"]["headGroupSpec"], workers):
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["limits"] == container["resources"]["requests"]


def test_the_page_links_to_what_is_there():
    links = re.findall(r"\]\(([^)]+)\)", (FOLDER / "README.md").read_text())
    assert links
    assert all((FOLDER / link).exists() for link in links)
