"""Completion scripts, as their shells take them; where a shell is not installed, by what must be in its script."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from gpuzarr.cli import COMMANDS, main

NAMES = sorted(module.__name__.rpartition(".")[2] for module in COMMANDS)


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The script for a shell."""
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "completion.bash").write_text(script("bash", capsys))
    (tmp_path / "ask").write_text(
        'source ./completion.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _gpuzarr; echo "${COMPREPLY[@]}"'
    )

    def completed(*words: str) -> list[str]:
        command = ["bash", "-eu", "ask", "gpuzarr", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout.split()

    assert sorted(completed("")) == sorted([*NAMES, "--help", "--version"])
    assert completed("inf") == ["info"]
    assert completed("--v") == ["--version"]
    assert sorted(completed("tree", "--")) == ["--depth", "--help", "--json", "--no-sizes", "--option", "--sizes"]
    assert completed("copy", "a.zarr", "b.zarr", "--ov") == ["--overwrite"]
    assert completed("completion", "z") == ["zsh"]
    assert completed("tree", "info", "--si") == ["--sizes"]  # the first word is the command
    assert completed("info", "a") == []  # left to the shell, which completes files
    assert completed("tree", "--depth", "") == []
    complete = subprocess.run(
        ["bash", "-c", "source ./completion.bash; complete -p gpuzarr"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "-o default" in complete.stdout
    assert "-F _gpuzarr gpuzarr" in complete.stdout


@pytest.mark.parametrize("shell", ["fish", "zsh"])
def test_every_command_and_option_is_in_the_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = script(shell, capsys)
    for name in NAMES:
        assert (f"-a {name} -d " if shell == "fish" else f"'{name}:") in text
        with pytest.raises(SystemExit):
            main([name, "--help"])
        for word in capsys.readouterr().out.replace(",", " ").replace("]", " ").split():
            if word.startswith("--") and len(word) > 2:
                assert (f"-l {word[2:]} " if shell == "fish" else f"*{word}[") in text


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_the_shell_takes_its_script(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "script"
    file.write_text(script(shell, capsys))
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    subprocess.run([shell, "-n", str(file)], check=True)


def test_another_shell_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["completion", "csh"])
    assert stop.value.code == 2
    assert "bash" in capsys.readouterr().err
