"""Films in object storage: a real S3 client against a server of its own on this machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cxray.cluster import locations
from cxray.config import InputCard
from cxray.errors import CxrayError, DataError, UnreadableImage
from cxray.records import Predictions
from tests.cluster.conftest import run
from tests.conftest import draw


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty bucket called archive, and a function that puts a file into it."""
    server_module = pytest.importorskip("moto.server", reason="needs moto[server,s3]")
    import boto3

    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_ENDPOINT_URL": address,
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="archive")
    yield lambda key, content: client.put_object(Bucket="archive", Key=key, Body=content)
    server.stop()
    locations._filesystem.cache_clear()


@pytest.mark.filterwarnings("ignore")  # the client and the server warn about their own future
def test_films_and_tables_in_a_bucket_are_scored_as_on_disk(bucket: Any, tiny_run: Path, tmp_path: Path) -> None:
    contents = [draw(tmp_path / f"{seed}.png", seed=seed).read_bytes() for seed in range(3)]
    for name, content in zip(("NORMAL/a b.png", "NORMAL/c", "PNEUMONIA/d.png"), contents, strict=True):
        bucket(f"films/test/{name}", content)
    bucket("films/test/README.txt", b"about")
    bucket("films/list.csv", b"path,patient\ntest/NORMAL/a b.png,p1\ns3://archive/films/test/PNEUMONIA/d.png,p2\n"
           b"test/gone.png,p3\n")  # fmt: skip
    done = run(tiny_run, "s3://archive/films/test", "--out", tmp_path / "folder")
    assert done.exit_code == 0, done.output
    table = Predictions.read(tmp_path / "folder" / "predictions.parquet")
    names = [f"s3://archive/films/test/{name}" for name in ("NORMAL/a b.png", "NORMAL/c", "PNEUMONIA/d.png")]
    assert table.path.tolist() == names
    assert table.label.tolist() == ["NORMAL", "NORMAL", "PNEUMONIA"] and set(table.split) == {"test"}
    run(tiny_run, *[tmp_path / f"{seed}.png" for seed in range(3)], "--out", tmp_path / "disk")
    disk = Predictions.read(tmp_path / "disk" / "predictions.parquet")
    assert table.scores.tobytes() == disk.scores.tobytes()
    listed = run(tiny_run, "s3://archive/films/list.csv", "--out", tmp_path / "list")
    assert isinstance(listed.exception, CxrayError) and listed.exception.exit_code == 8
    rows = Predictions.read(tmp_path / "list" / "predictions.parquet")
    assert rows.path.tolist() == [names[0], names[2], "s3://archive/films/test/gone.png"]
    assert rows.patient.tolist() == ["p1", "p2", "p3"] and "cannot be read" in rows.error[2]
    with pytest.raises(DataError, match="There is nothing at s3://archive/nowhere"):
        list(locations.list_films("s3://archive/nowhere", Counter()))


def test_texts_and_paths_of_uris_are_each_others_inverse() -> None:
    for uri in ("s3://bucket/a b/c.png", "gs://b/x", "abfs://c@account/y.dcm"):
        assert locations.location(Path(uri)) == uri
        assert locations.is_uri(uri) and locations.is_uri(str(Path(uri)))
    for path in ("/data/a.png", "a.png", "C:/films"):
        assert locations.location(Path(path)) == path
    assert not locations.is_uri("C:/films/a.png")
    assert locations.as_input("file:///data/a%20b.png") == "/data/a b.png"


def test_a_read_that_fails_for_a_passing_reason_is_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(locations, "WAITS", (0.0, 0.0))
    film, tries = draw(tmp_path / "a.png", side=64), []
    real = Path.read_bytes

    def flaky(path: Path) -> bytes:
        tries.append(path)
        if len(tries) < failures:
            raise OSError(116, "Stale file handle")
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", flaky)
    failures = 3
    assert locations.read_located(film, InputCard()).film.shape == (224, 224)
    assert len(tries) == 3
    tries.clear()
    failures = 9
    with pytest.raises(UnreadableImage, match="Stale file handle"):
        locations.read_located(film, InputCard())
    assert len(tries) == 3
    tries.clear()
    with pytest.raises(UnreadableImage, match="No such file"):
        locations.read_located(tmp_path / "gone.png", InputCard())
    assert tries == []
