"""The command line, as a user meets it: what it prints and how it exits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import gpuzarr
from gpuzarr.cli import main, make_parser
from gpuzarr.cli.demo import CASES, field

DATA = np.arange(60, dtype="int32").reshape(6, 10)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A v3 group with an array at the root and one below, the second with two of its six chunks never written."""
    path = tmp_path / "some.zarr"
    root = gpuzarr.open_group(path, mode="w")
    root.create_array("whole", data=DATA, chunks=(3, 5))
    below = root.create_group("below")
    partly = below.create_array("partly", shape=(6, 10), chunks=(2, 5), dtype="int32", fill_value=-1)
    partly[:4] = DATA[:4]
    return path


def answer(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    """Exit status, output and error output of a command."""
    status = main([str(word) for word in argv])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def damage(file: Path) -> None:
    """Cut a chunk short."""
    file.write_bytes(file.read_bytes()[:-3])


def test_info_of_an_array(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    status, out, _ = answer(capsys, "info", store / "whole")
    assert status == 0
    assert "(6, 10)" in out
    assert "zstd" in out.lower()


def test_info_as_json(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    status, out, _ = answer(capsys, "info", "--json", store / "whole")
    found = json.loads(out)
    assert status == 0
    assert (found["type"], found["shape"], found["chunks"], found["shards"]) == ("array", [6, 10], [3, 5], None)
    assert found["dtype"] == "int32"
    assert found["nbytes"] == DATA.nbytes
    assert found["nbytes_stored"] > 0
    assert found["metadata"]["node_type"] == "array"


def test_info_of_a_group(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    assert "Group" in answer(capsys, "info", store)[1]
    assert json.loads(answer(capsys, "info", "--json", store)[1])["metadata"]["node_type"] == "group"


def test_tree(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    status, out, _ = answer(capsys, "tree", store)
    assert status == 0
    assert all(name in out for name in ("whole", "below", "partly", "(6, 10)", "int32"))


def test_tree_as_json(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    nodes = json.loads(answer(capsys, "tree", "--json", store)[1])
    assert [(node["path"], node["type"]) for node in nodes] == [
        ("/", "group"),
        ("/below", "group"),
        ("/below/partly", "array"),
        ("/whole", "array"),
    ]


def test_tree_of_an_array_is_one_row(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    status, out, _ = answer(capsys, "tree", "--no-sizes", store / "whole")
    assert status == 0
    assert [line.split() for line in out.splitlines()[:2]] == [
        ["node", "shape", "dtype", "chunks", "size", "codecs"],
        ["/", "(6,", "10)", "int32", "(3,", "5)", "240", "B", "zstd"],
    ]


def test_verify_a_good_store(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    status, out, err = answer(capsys, "verify", store)
    assert (status, err) == (0, "")
    assert "2 arrays, 8 good chunks, 0 corrupt" in out


def test_verify_goes_on_after_a_damaged_chunk(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    damage(store / "whole/c/0/0")
    damage(store / "whole/c/1/1")
    status, out, err = answer(capsys, "verify", "--json", store)
    verdicts = {verdict["path"]: verdict for verdict in json.loads(out)["arrays"]}
    assert (status, err) == (1, "")
    assert {k: verdicts["/whole"][k] for k in ("good", "missing", "corrupt")} == {"good": 2, "missing": 0, "corrupt": 2}
    assert [f["key"] for f in verdicts["/whole"]["findings"]] == ["whole/c/0/0", "whole/c/1/1"]
    partly = verdicts["/below/partly"]
    assert (partly["good"], partly["missing"], partly["corrupt"]) == (4, 2, 0)

    status, out, err = answer(capsys, "verify", store)
    assert status == 1
    assert "2 arrays, 6 good chunks, 2 corrupt" in out
    assert "whole/c/0/0" in err


@pytest.mark.parametrize("document", ["{", '{"zarr_format": 3, "node_type": "array"}'])
def test_a_damaged_document_hides_nothing_else(capsys: pytest.CaptureFixture[str], store: Path, document: str) -> None:
    (store / "below/zarr.json").write_text(document)
    status, out, err = answer(capsys, "verify", store)
    assert status == 1
    assert "2 arrays, 8 good chunks, 0 corrupt, 1 cannot be opened" in out
    assert "/below: MetadataError" in err

    (verdict,) = [v for v in json.loads(answer(capsys, "verify", "--json", store)[1])["arrays"] if v["unopened"]]
    assert (verdict["path"], verdict["good"]) == ("/below", 0)

    status, out, err = answer(capsys, "tree", store)
    assert status == 1
    assert "partly" in out
    assert "/below: MetadataError" in err
    types = [node["type"] for node in json.loads(answer(capsys, "tree", "--json", store)[1])]
    assert types == ["group", "damaged", "array", "array"]


def test_names_are_printed_as_they_are(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = gpuzarr.open_group(tmp_path / "g.zarr", mode="w")
    for name in ("datetime64[ms]", "[red]x", "bell\x07"):
        root.create_array(name, shape=1, dtype="u1")
    for command in ("tree", "verify"):
        out = answer(capsys, command, tmp_path / "g.zarr")[1]
        assert "datetime64[ms]" in out
        assert "[red]x" in out
        assert "bell\\x07" in out
        assert "\x07" not in out


def test_a_directory_of_stores(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    status, out, _ = answer(capsys, "tree", store.parent)
    assert status == 0
    assert "some.zarr" in out
    assert "whole" in out
    assert "2 arrays, 8 good chunks" in answer(capsys, "verify", store.parent)[1]


def test_verify_shards_and_v2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sharded = gpuzarr.create_array(tmp_path / "s.zarr", data=DATA, chunks=(3, 5), shards=(6, 10))
    assert sharded.shards == (6, 10)
    gpuzarr.create_array(tmp_path / "v2.zarr", data=DATA, chunks=(3, 5), zarr_format=2)
    assert answer(capsys, "verify", tmp_path / "s.zarr")[0] == 0
    assert answer(capsys, "verify", tmp_path / "v2.zarr")[0] == 0
    damage(tmp_path / "s.zarr/c/0/0")
    damage(tmp_path / "v2.zarr/0.1")
    assert answer(capsys, "verify", tmp_path / "s.zarr")[0] == 1
    assert answer(capsys, "verify", tmp_path / "v2.zarr")[0] == 1


@pytest.mark.parametrize("command", ["info", "tree", "verify"])
def test_a_wrong_path_says_what_is_there(capsys: pytest.CaptureFixture[str], store: Path, command: str) -> None:
    status, out, err = answer(capsys, command, store.parent / "sone.zarr")
    assert (status, out) == (2, "")
    assert "sone.zarr" in err
    assert "some.zarr/" in err
    assert not (store.parent / "sone.zarr").exists()


def test_a_directory_that_is_no_store(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    status, _, err = answer(capsys, "verify", tmp_path)
    assert status == 2
    assert "notes.txt" in err


@pytest.mark.parametrize(
    "argv",
    [[], ["nonsense"], ["info"], ["tree", "x", "-o", "novalue"], ["tree", "x", "-o", "a={"], ["demo", "--size", "0"]],
)
def test_usage_errors_exit_2(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(argv)
    assert exit_.value.code == 2
    assert "usage: gpuzarr" in capsys.readouterr().err


def test_a_url_and_its_options(capsys: pytest.CaptureFixture[str], store: Path, tmp_path: Path) -> None:
    url, kept = f"simplecache::file://{store}/whole", tmp_path / "kept"
    status, out, _ = answer(capsys, "verify", url, "-o", f"cache_storage={kept}")
    assert status == 0
    assert "1 arrays, 4 good chunks" in out
    assert len(list(kept.iterdir())) >= 4


def test_options_for_a_path_are_an_error(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    status, _, err = answer(capsys, "info", store, "-o", "anon=true")
    assert status == 2
    assert err.startswith("gpuzarr: ValueError: storage_options")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=true", True),
        ("a=False", False),
        ("a=none", None),
        ("a=12", 12),
        ("a=b=c", "b=c"),
        ('a={"b": [1]}', {"b": [1]}),
    ],
)
def test_option_values(text: str, value: object) -> None:
    arguments = make_parser().parse_args(["info", "x", "-o", text])
    assert arguments.option == [("a", value)]


def test_interrupted(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gpuzarr, "open", interrupt)
    assert main(["info", str(store)]) == 130


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"gpuzarr {gpuzarr.__version__}\n"


def test_demo(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, out, _ = answer(capsys, "demo", "--size", "1", "--json", "--path", tmp_path)
    found = json.loads(out)
    assert status == 0
    assert found["device"] == "cpu"
    assert len(found["results"]) == len(CASES) == 12
    assert all(result["equal"] for result in found["results"])
    ratios = {(r["case"]["codec"], r["case"]["sharded"]): r["ratio"] for r in found["results"]}
    assert all(ratio > 1.3 for (codec, _), ratio in ratios.items() if codec in ("zstd", "gzip"))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(case.name for case in CASES)
    np.testing.assert_array_equal(gpuzarr.open_array(tmp_path / "v3-zstd-sharded.zarr", mode="r")[:], field(1))


def test_demo_prints_a_table_and_cleans_up(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    status, out, _ = answer(capsys, "demo", "--size", "1")
    assert status == 0
    assert out.count("yes") == len(CASES)
    assert "on cpu" in out
    assert list(tmp_path.iterdir()) == []


def test_demo_fails_where_a_read_is_wrong(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    real = gpuzarr.Array.__getitem__
    monkeypatch.setattr(gpuzarr.Array, "__getitem__", lambda self, selection: real(self, selection) + 1)
    status, out, _ = answer(capsys, "demo", "--size", "1")
    assert status == 1
    assert "NO" in out


def test_the_doctor_says_what_is_missing_and_what_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    status, text, _ = answer(capsys, "doctor")
    assert status == 0
    for word in ("machine", "cores", "numcodecs", "cupy", "nvcomp", "kvikio", "zstd@gpu -> bytes@gpu"):
        assert word in text
    status, text, _ = answer(capsys, "doctor", "--json")
    found = json.loads(text)
    assert status == 0
    assert "file reads to a GPU" not in found or all("ms" in text for text in found["file reads to a GPU"].values())
    assert found["gpu"]["auto"] == gpuzarr.devices.get_device("auto").name
    nvcomp = found["gpu"]["nvcomp"]
    assert nvcomp.startswith("library ") or "until then a GPU reads what is not compressed" in nvcomp
    assert found["routes"]["zstd + crc32c on a GPU"] == "crc32c@gpu -> zstd@gpu -> bytes@gpu"
