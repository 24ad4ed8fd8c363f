"""What all commands have in common: tables, help, JSON, exit status, hints, and a quick start."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuzarr
from gpuzarr.cli import COMMANDS, main, make_parser
from gpuzarr.cli.hints import failure
from gpuzarr.cli.printing import Column, Row, cell_width, print_table, ratio_text, size_text
from gpuzarr.cli.progress import progress
from gpuzarr.errors import StoreReadError
from tests.test_floors import HEAVY

ROOT = Path(__file__).parents[1]
NAMES = [module.__name__.rpartition(".")[2] for module in COMMANDS]
FULL = os.path.exists("/dev/full")
TWO = ("copy", "convert")  # commands with a source and a target
DATA = np.arange(60.0).reshape(6, 10)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A group with an array, sharded, and a group with another, in a directory of its own."""
    root = gpuzarr.open_group(tmp_path / "some.zarr", mode="w", attributes={"title": "a \x1b[31mred one"})
    root.create_array("temperature", data=DATA, chunks=(3, 5), shards=(6, 5))
    compressor = gpuzarr.codecs.BloscCodec(cname="lz4")
    root.create_array("deep/salinity", data=DATA, chunks=(3, 5), compressors=compressor)
    return tmp_path / "some.zarr"


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A function that prints a table, or runs a command, on a terminal of 60 columns and returns what that gets."""

    def printed(*table: Any, command: list[str] | None = None, **environment: str) -> str:
        for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"TERM": "xterm-256color", "COLUMNS": "60", **environment}.items():
            monkeypatch.setenv(name, value)
        screen = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", screen)
            if command is not None:
                assert main(command) == 0
            else:
                print_table(*table)
        return screen.getvalue()

    return printed


def answer(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    """Exit status, output and error output of a command."""
    status = main([str(word) for word in argv])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


# ---- tables


def test_numbers_in_words() -> None:
    assert [size_text(n) for n in (0, 1023, 1024, 1536, 10**6, 2**40, 2**60, 2**75)] == [
        *("0 B", "1023 B", "1.0 KiB", "1.5 KiB", "976.6 KiB", "1.0 TiB", "1.0 EiB", "32768.0 EiB"),
    ]
    assert [ratio_text(*pair) for pair in ((10, 0), (0, 5), (3, 2), (1, 4), (10**9, 2))] == [
        *("", "", "1.50", "0.25", "5e+08"),
    ]


def test_a_table_is_aligned_by_the_width_of_its_characters(capsys: pytest.CaptureFixture[str]) -> None:
    columns = (Column("name"), Column("empty"), Column("n", right=True), Column("last"))
    print_table(columns, [Row(["温度", "", "5", "a"]), Row(["e\u0301te", "", "1000", ""])])
    assert capsys.readouterr().out == "name     n  last\n温度     5  a\ne\u0301te   1000\n"
    assert cell_width("温度") == 4


def test_a_table_without_rows_is_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    print_table((Column("a"), Column("b")), [])
    assert capsys.readouterr().out == "a  b\n"


def test_a_terminal_gets_colours_and_what_fits(on_a_terminal: Callable[..., str]) -> None:
    columns = (Column("node"), Column("wide", spare=2), Column("wider", spare=3), Column("n", right=True, spare=1))
    rows = [Row(["x" * 20, "y" * 30, "z" * 40, "7"], "red")]
    text = on_a_terminal(columns, rows)
    assert "\x1b[1m" in text
    assert "\x1b[31m" in text
    assert "y" * 30 in text
    assert "z" not in text
    assert "too narrow for: wider" in text
    assert "\x1b[31m" not in on_a_terminal(columns, rows, NO_COLOR="1")
    assert "\x1b" not in on_a_terminal(columns, rows, TERM="dumb")
    assert "z" * 40 in on_a_terminal(columns, rows, COLUMNS="200")


def test_facts_are_not_cut_on_a_terminal(store: Path, on_a_terminal: Callable[..., str]) -> None:
    gpuzarr.create_array(store / ("n" * 100), shape=(1,) * 30, dtype="u1")
    text = on_a_terminal(command=["info", str(store / ("n" * 100))])
    assert "\x1b[1mType" in text
    assert str((1,) * 30) in text


def test_a_line_that_is_too_long_is_cut(on_a_terminal: Callable[..., str]) -> None:
    _, line = on_a_terminal((Column("node"),), [Row(["x" * 100])]).splitlines()
    assert line == "x" * 59 + "…"


def test_a_pipe_gets_everything_in_plain_text(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    out = answer(capsys, "tree", store)[1]
    assert "\x1b" not in out
    head, _, deep, salinity, temperature, total = out.splitlines()
    assert head.split() == ["node", "shape", "dtype", "chunks", "shards", "size", "stored", "ratio", "codecs"]
    assert deep == "├── deep"
    for line, name, codec in ((salinity, "deep/salinity", "blosc(lz4)"), (temperature, "temperature", "zstd")):
        stored = nbytes_of(store / name)
        cells = re.split(r" {2,}", line)
        assert cells[-4:] == ["480 B", size_text(stored), f"{480 / stored:.2f}", codec]
    assert "(6, 5)" in temperature
    assert total == f"2 arrays, 2 groups; 960 B, stored in {size_text(nbytes_of(store))}"


def nbytes_of(place: Path) -> int:
    """Bytes of all files below a directory."""
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())


def test_progress_is_shown_on_a_terminal_only_and_names_do_not_drive_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for kind in (io.StringIO, Terminal):
        screen = kind()
        monkeypatch.setattr(sys, "stderr", screen)
        with progress(True) as step:
            step("", 0, 7)
            step("[red]evil\x1b]0;title\x07", 3)
        shown = screen.getvalue()
        assert ("3/7" in shown and "[red]evil\\x1b]0;title\\x07" in shown) == (kind is Terminal)
        assert "\x1b]" not in shown
        assert "\x07" not in shown
    assert screen.getvalue()
    with progress(False) as step:
        step("nothing", 1)


# ---- tree


def test_sizes_of_the_tree_as_json(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    nodes = {node["path"]: node for node in json.loads(answer(capsys, "tree", "--json", store)[1])}
    for name in ("temperature", "deep/salinity"):
        assert nodes[f"/{name}"]["nbytes_stored"] == gpuzarr.open_array(store / name, mode="r").nbytes_stored
    assert nodes["/temperature"]["codecs"] == "zstd"
    assert nodes["/temperature"]["zarr_format"] == 3
    listed = json.loads(answer(capsys, "tree", "--json", "--no-sizes", store)[1])
    assert not any("nbytes_stored" in node for node in listed)


def test_the_tree_of_a_url_lists_objects_only_when_asked(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    url = f"simplecache::file://{store}"
    assert "stored" not in answer(capsys, "tree", url)[1]
    assert "stored" in answer(capsys, "tree", "--sizes", url)[1]


def test_the_tree_to_a_depth(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    nodes = json.loads(answer(capsys, "tree", "--json", "--depth", "1", store)[1])
    assert [node["path"] for node in nodes] == ["/", "/deep", "/temperature"]


def test_nodes_that_their_group_hides_are_named(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    gpuzarr.create_array(store / "old", data=DATA, zarr_format=2)
    status, out, err = answer(capsys, "tree", store)
    assert status == 0
    assert "old" not in out
    assert err == "not shown, since no group of their format has them: /old\n"


# ---- help, status, JSON


@pytest.mark.parametrize("name", NAMES)
def test_help_has_an_example_that_parses_and_the_exit_status(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "exit status:" in text
    assert "130  interrupted" in text
    example = text.partition("example:\n")[2].splitlines()[0]
    words = shlex.split(example.partition("gpuzarr ")[2].rstrip('")').partition(")")[0])
    assert words[0] == name
    make_parser().parse_args(words)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("completion", "demo", "doctor")])
def test_a_failure_is_status_2_and_with_json_an_object(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there.txt").write_text("x")
    words = [name, "--json", str(tmp_path / "not.zarr"), *([str(tmp_path / "new")] if name in TWO else [])]
    status, out, err = answer(capsys, *words)
    assert (status, out) == (2, "")
    found = json.loads(err)["error"]
    assert found["type"] == "NodeNotFoundError"
    assert "not.zarr" in found["message"]
    assert any("there.txt" in hint for hint in found["hints"])
    words.remove("--json")
    status, out, err = answer(capsys, *words)
    assert (status, out) == (2, "")
    assert err.startswith("gpuzarr: NodeNotFoundError: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.txt"]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "completion"])
def test_every_command_prints_json(name: str, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = [store, store.parent / "b.zarr"][: 2 if name in TWO else 1]
    words = {"demo": ["--size", "1"], "doctor": []}.get(name, places)
    status, out, err = answer(capsys, name, "--json", *words)
    assert (status, err) == (0, "")
    json.loads(out)


@pytest.mark.parametrize("name", NAMES)
def test_interrupted_is_status_130(name: str, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [store, store.parent / "b.zarr"][: 2 if name in TWO else 1]
    words = [name, *map(str, {"demo": [], "doctor": [], "completion": ["bash"]}.get(name, places))]
    arguments = make_parser().parse_args(words)

    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    arguments.run = interrupt
    monkeypatch.setattr("argparse.ArgumentParser.parse_args", lambda *_: arguments)
    assert main(words) == 130


@pytest.mark.parametrize("name", NAMES)
def test_usage_errors_are_json_where_json_is_asked_for(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([name, "--json", "--nonsense"], [name, "--nonsense=1", "--json", "a", "b"]):
        with pytest.raises(SystemExit) as exit_:
            main(words)
        assert exit_.value.code == 2
        error = json.loads(capsys.readouterr().err)["error"]
        assert error["type"] == "UsageError"
        assert error["message"]


@pytest.mark.parametrize(
    "words", [["info", ""], ["convert", "", "b"], ["copy", "a", "", "--overwrite"], ["fsck", "file://"]]
)
def test_an_empty_path_is_not_the_working_directory(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(words)
    assert exit_.value.code == 2
    assert "the path is empty" in capsys.readouterr().err


# ---- hints


def hints(capsys: pytest.CaptureFixture[str], *argv: object) -> list[str]:
    """What is said after the error."""
    status, out, err = answer(capsys, *argv)
    assert (status, out) == (2, "")
    return err.splitlines()[1:]


def test_a_typo_in_the_name_of_an_array(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    assert hints(capsys, "info", store / "Temprature") == [
        f"'{store}' is a format 3 group; it has deep, temperature",
        f"did you mean '{store}/temperature'?",
    ]
    assert hints(capsys, "tree", store / "deep/sal") == [
        f"'{store}/deep' is a format 3 group; it has salinity",
        f"did you mean '{store}/deep/salinity'?",
    ]
    assert hints(capsys, "verify", store / "temperature/x/y") == [
        f"'{store}/temperature' is a format 3 array, and arrays have no members"
    ]
    assert hints(capsys, "info", f"simplecache::file://{store}/temprature")[1:] == [
        f"did you mean 'simplecache::file://{store}/temperature'?"
    ]


def test_a_path_into_a_zip_file(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    archive = store.parent / "some.zip"
    assert answer(capsys, "copy", store, archive)[0] == 0
    assert "Storage ratio" in answer(capsys, "info", archive / "deep/salinity")[1]
    assert answer(capsys, "verify", archive / "deep")[1].endswith("1 arrays, 4 good chunks, 0 corrupt\n")
    assert hints(capsys, "info", archive / "temperatur")[1:] == [f"did you mean '{archive}/temperature'?"]


def test_a_directory_of_stores_and_half_a_node(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    assert hints(capsys, "info", store.parent) == [f"nodes are one level below: {store}"]
    half = store.parent / "half"
    half.mkdir()
    (half / ".zmetadata").write_text("{}")
    assert "neither .zarray nor .zgroup" in hints(capsys, "info", half)[0]
    file = store.parent / "file"
    file.write_text("x")
    assert hints(capsys, "info", file) == [f"{file} is a file"]


def test_names_in_hints_do_not_drive_the_terminal(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    gpuzarr.open_group(store).create_group("x\x1b[2Jy")
    status, _, err = answer(capsys, "info", store / "nothing")
    assert status == 2
    assert "x\\x1b[2Jy" in err
    assert "\x1b" not in err


def test_a_library_that_is_not_installed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("gpuzarr.cli.places.open_store", missing)
    assert hints(capsys, "info", "s3://bucket/some.zarr") == ["pip install 'gpuzarr[s3]'"]


def test_attributes_are_shown_and_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    out = answer(capsys, "info", store)[1]
    assert "\x1b" not in out
    assert out.endswith('Attributes\n  "title": "a \\u001b[31mred one"\n')
    many = gpuzarr.create_array(
        store / "many", shape=1, dtype="u1", attributes={f"a{i:03}": "v" * 999 for i in range(50)}
    )
    assert len(many.attrs) == 50
    out = answer(capsys, "info", store / "many")[1]
    assert "and 30 more (see --json)" in out
    assert max(map(len, out.splitlines())) < 250


def test_what_a_service_refuses_may_be_public() -> None:
    denied = StoreReadError("cannot read 'zarr.json': NoCredentialsError()")
    assert list(failure("s3://bucket/x", denied)) == [
        "where the data are public, no credentials are needed: --option anon=true"
    ]
    assert "token=anon" in next(failure("simplecache::gs://bucket/x", StoreReadError("403 Forbidden")))
    assert list(failure("s3://bucket/x", StoreReadError("timed out"))) == []
    assert list(failure("/some/path", StoreReadError("permission denied"))) == []
    assert list(failure("https://host/x", ImportError("aiohttp"))) == ["pip install 'aiohttp'"]


# ---- start, and end


COMMAND = "import sys\nfrom gpuzarr.cli import main\nsys.exit(main(sys.argv[1:]))"


@pytest.mark.parametrize("environment", [{}, {"FORCE_COLOR": "1", "TERM": "xterm"}])
def test_output_that_nobody_reads_is_no_error(store: Path, environment: dict[str, str]) -> None:
    for i in range(300):
        gpuzarr.open_group(store).create_group(f"{i:0200}")
    done = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "tree", str(store)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert done.stdout is not None
    done.stdout.close()
    assert done.wait(60) == 141
    assert done.stderr is not None
    said = done.stderr.read()
    assert b"Traceback" not in said
    assert said == b"" or environment
    done.stderr.close()


@pytest.mark.parametrize(
    ("streams", "words", "status"),
    [
        (">&-", ["info", "some.zarr"], 0),
        (">&- 2>&- <&-", ["convert", "some.zarr", "b.zarr"], 0),
        ("2>&-", ["info", "nothing"], 2),
        pytest.param("2>/dev/full", ["info", "nothing"], 2, marks=pytest.mark.skipif(not FULL, reason="no /dev/full")),
    ],
)
def test_streams_that_are_closed_or_full(store: Path, streams: str, words: list[str], status: int) -> None:
    """Numbers of closed streams are free for the files of a store, into which nothing may be printed."""
    done = subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {shlex.join(words)} {streams}', sys.executable, COMMAND],
        cwd=store.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, b"", b"")
    if words[0] == "convert":
        assert main(["verify", str(store.parent / "b.zarr")]) == 0


def test_numbers_of_closed_streams_are_taken(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert main(["info", str(store)]) == 0
    assert main(["info", str(store / "nothing")]) == 2
    for stream in (sys.stdout, sys.stderr):
        assert stream.writable()
        os.close(stream.fileno())


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_an_encoding_without_the_lines_of_a_tree_is_no_error(store: Path, encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "tree", str(store)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    assert b"\\u251c\\u2500\\u2500 deep" in done.stdout


@pytest.mark.parametrize("words", [["--help"], ["info", "a.zarr"], ["tree", "a.zarr"], ["completion", "bash"]])
def test_commands_start_without_heavy_libraries(words: list[str], tmp_path: Path) -> None:
    gpuzarr.save_array(tmp_path / "a.zarr", DATA)
    code = (
        "import sys\nfrom gpuzarr.cli import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(*{m.partition('.')[0] for m in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.splitlines()[-1].split()) & (HEAVY - {"argparse"}) == set()


def test_a_copy_that_was_cut_short_recommends_to_overwrite(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    left = store.parent / "copy.zarr/temperature/c/0"
    left.mkdir(parents=True)
    (left / "0").write_bytes(b"half")
    assert hints(capsys, "copy", store, store.parent / "copy.zarr") == ["--overwrite replaces what is there"]
    assert answer(capsys, "copy", store, store.parent / "copy.zarr", "--overwrite")[0] == 0
    assert answer(capsys, "fsck", store.parent / "copy.zarr")[0] == 0
