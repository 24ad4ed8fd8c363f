"""The command line and services: copies there and back, trees, and what is said where a URL is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

import gpuzarr
from gpuzarr.cli import main
from tests.servers.conftest import KEYS, gcs_options
from tests.servers.proxy import Proxy
from tests.servers.web import Web

DATA = np.arange(600.0).reshape(20, 30)


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A group with consolidated metadata, an array and a group with a sharded array."""
    root = gpuzarr.open_group(tmp_path / "a.zarr", mode="w", attributes={"title": "t"})
    root.create_array("ocean", data=DATA, chunks=(2, 3))
    root.create_array("deep/heat", data=DATA, chunks=(2, 3), shards=(10, 15))
    gpuzarr.consolidate_metadata(tmp_path / "a.zarr")
    return tmp_path / "a.zarr"


def files(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def s3_words(proxy: Proxy, option: str) -> list[str]:
    """Storage options as a user types them."""
    region = json.dumps({"region_name": "us-east-1"})
    given = {**KEYS, "endpoint_url": proxy.url, "client_kwargs": region}
    return [word for name, value in given.items() for word in (option, f"{name}={value}")]


def test_there_and_back_by_s3(s3_proxy: Proxy, local: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    s3_proxy.reset()
    url = f"s3://data/{uuid4().hex}/b.zarr"
    assert main(["copy", str(local), url, *s3_words(s3_proxy, "--target-option")]) == 0
    assert main(["copy", url, str(tmp_path / "c.zarr"), *s3_words(s3_proxy, "--source-option")]) == 0
    assert files(tmp_path / "c.zarr") == files(local)
    assert "2 arrays, 2 groups: 108 objects" in capsys.readouterr().out

    words = s3_words(s3_proxy, "--option")
    s3_proxy.reset()
    assert main(["tree", url, *words]) == 0
    assert "stored" not in capsys.readouterr().out
    assert len(s3_proxy.asked()) < 20  # documents, and lists of what is directly below a group
    assert main(["tree", "--sizes", url, *words]) == 0
    assert "stored in" in capsys.readouterr().out
    assert main(["verify", url, *words]) == 0
    assert "2 arrays, 104 good chunks, 0 corrupt" in capsys.readouterr().out
    assert main(["info", f"{url}/ocaen", *words]) == 2
    assert f"did you mean '{url}/ocean'?" in capsys.readouterr().err
    assert main(["copy", str(local), url, *s3_words(s3_proxy, "--target-option")]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_from_s3_to_gcs(gcs_proxy: Proxy, s3_proxy: Proxy, local: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for proxy in (gcs_proxy, s3_proxy):
        proxy.reset()
    name = uuid4().hex
    assert main(["copy", str(local), f"s3://data/{name}", *s3_words(s3_proxy, "--target-option")]) == 0
    given = {key: value for key, value in gcs_options(gcs_proxy).items() if isinstance(value, str)}
    options = [word for key, value in given.items() for word in ("--target-option", f"{key}={value}")]
    source = s3_words(s3_proxy, "--source-option")
    assert main(["copy", f"s3://data/{name}/deep", f"gs://data/{name}", *source, *options]) == 0
    assert "1 arrays, 1 groups: 6 objects" in capsys.readouterr().out


def test_from_the_web_by_consolidated_metadata(
    web: Web, local: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = uuid4().hex
    web.objects.update({f"{name}/{key}": data for key, data in files(local).items()})
    url = f"{web.url}/{name}"
    assert main(["copy", url, str(tmp_path / "c.zarr")]) == 0
    assert files(tmp_path / "c.zarr") == files(local)
    assert main(["tree", url]) == 0
    assert "heat" in capsys.readouterr().out
    assert main(["verify", url]) == 0
    assert "2 arrays, 104 good chunks, 0 corrupt" in capsys.readouterr().out
    web.objects[f"{name}/ocean/c/3/3"] += b"junk"
    assert main(["verify", url]) == 1
    capsys.readouterr()
    assert main(["info", f"{url}/oceam"]) == 2
    assert f"did you mean '{url}/ocean'?" in capsys.readouterr().err
    assert main(["info", f"{url}/deep/hest"]) == 2
    assert capsys.readouterr().err.endswith(f"'{url}/deep' is a format 3 group\n")


def test_the_web_shows_nothing_of_what_it_holds(
    web: Web, local: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpuzarr.open_group(local, mode="r+")
    document = json.loads((local / "zarr.json").read_text())
    del document["consolidated_metadata"]
    (local / "zarr.json").write_text(json.dumps(document))
    name = uuid4().hex
    web.objects.update({f"{name}/{key}": data for key, data in files(local).items()})
    url = f"{web.url}/{name}"
    for words in (["copy", url, str(tmp_path / "c.zarr")], ["tree", url], ["verify", url]):
        assert main(words) == 2
        assert "cannot list what it holds; open the group with consolidated metadata" in capsys.readouterr().err
    assert not (tmp_path / "c.zarr").exists()
    assert main(["verify", f"{web.url}/{name}/ocean"]) == 0
    assert "100 good chunks" in capsys.readouterr().out
    array = gpuzarr.open_array(f"{web.url}/{name}/ocean", mode="r")
    assert array.nchunks_initialized == 100
    dest = gpuzarr.group({})
    gpuzarr.copy(array, dest, "copied")
    np.testing.assert_array_equal(dest["copied"][...], DATA)


def test_what_the_service_said_is_told(web: Web, capsys: pytest.CaptureFixture[str]) -> None:
    web.secret = "signed"
    try:
        assert main(["info", f"{web.url}/some.zarr"]) == 2
    finally:
        web.secret = None
    assert "403" in capsys.readouterr().err
