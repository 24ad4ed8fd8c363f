"""`gpuzarr completion`: a script that completes the command line in a shell, made from the parsers themselves.

The script completes words by itself, without starting Python; where a path belongs, the shell completes files.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import NamedTuple

from gpuzarr.cli.arguments import Commands, Run, add_command

WHERE = {
    "bash": 'eval "$(gpuzarr completion bash)"  # in ~/.bashrc',
    "fish": "gpuzarr completion fish > ~/.config/fish/completions/gpuzarr.fish",
    "zsh": 'gpuzarr completion zsh > "${fpath[1]}/_gpuzarr"',
}


class Option(NamedTuple):
    """An option of a command."""

    flags: tuple[str, ...]
    takes_value: bool
    help: str


class Command(NamedTuple):
    """What is to be completed of a command."""

    name: str
    help: str
    options: list[Option]
    words: list[str]  # that an argument may be; where there are none, it is a file


def add_parser(commands: Commands) -> None:
    """The command's arguments."""
    summary = "print a script that completes this command line in a shell"
    parser = add_command(commands, "completion", _run(commands), summary, example=WHERE["bash"], with_json=False)
    parser.add_argument("shell", choices=tuple(WHERE), metavar="SHELL", help=", ".join(WHERE))


def _run(commands: Commands) -> Run:
    """`gpuzarr completion SHELL`, which completes what is among the commands when it runs."""

    def run(arguments: argparse.Namespace) -> int:
        script = {"bash": bash, "fish": fish, "zsh": zsh}[arguments.shell]
        print("\n".join(script(described(commands))))
        return 0

    return run


def described(commands: Commands) -> list[Command]:
    """The commands and their options; argparse lists them by no public name, but these have been there for ever."""
    helps = {action.dest: action.help or "" for action in commands._choices_actions}
    found = []
    for name, parser in commands.choices.items():
        options = [
            Option(tuple(action.option_strings), action.nargs != 0, action.help or "")
            for action in parser._actions
            if action.option_strings
        ]
        words = [str(word) for action in parser._actions if not action.option_strings for word in action.choices or ()]
        found.append(Command(name, helps[name], options, words))
    return found


def bash(commands: list[Command]) -> Iterator[str]:
    """For bash 4 and later."""
    names = " ".join(command.name for command in commands)
    yield f"# {WHERE['bash']}"
    yield from (
        "_gpuzarr() {",
        '    local current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"',
        '    local command="" words="" values="" i',
        "    for ((i = 1; i < COMP_CWORD; i++)); do",
        '        case "${COMP_WORDS[i]}" in',
        f'            {names.replace(" ", "|")}) command="${{COMP_WORDS[i]}}"; break ;;',
        "        esac",
        "    done",
        '    case "$command" in',
        f'        "") words="{names} --help --version" ;;',
    )
    for command in commands:
        flags = " ".join([*command.words, *(flag for option in command.options for flag in option.flags)])
        valued = "|".join(flag for option in command.options if option.takes_value for flag in option.flags)
        takes = f' values="|{valued}|"' if valued else ""
        yield f'        {command.name}) words="{flags}"{takes} ;;'
    yield from (
        "    esac",
        "    COMPREPLY=()",
        '    if [[ "$values" == *"|$before|"* ]]; then return; fi',
        '    if [[ -z "$command" || "$current" == -* || "$words" != -* ]]; then',
        '        COMPREPLY=($(compgen -W "$words" -- "$current"))',
        "    fi",
        "}",
        "complete -o bashdefault -o default -F _gpuzarr gpuzarr",
    )


def fish(commands: list[Command]) -> Iterator[str]:
    """For fish 3 and later."""
    yield f"# {WHERE['fish']}"
    yield "complete -c gpuzarr -n __fish_use_subcommand -f -l version -d 'print the version'"
    yield "complete -c gpuzarr -n __fish_use_subcommand -f -s h -l help -d 'print help'"
    for command in commands:
        yield f"complete -c gpuzarr -n __fish_use_subcommand -f -a {command.name} -d {_quoted(command.help)}"
    for command in commands:
        start = f"complete -c gpuzarr -n '__fish_seen_subcommand_from {command.name}'"
        if command.words:
            yield f"{start} -f -a {_quoted(' '.join(command.words))}"
        for flags, takes_value, text in command.options:
            names = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in flags)
            yield f"{start} {names}{' -r' if takes_value else ''} -d {_quoted(text)}"


def zsh(commands: list[Command]) -> Iterator[str]:
    """For zsh 5 and later."""
    yield from (
        "#compdef gpuzarr",
        f"# {WHERE['zsh']}",
        "_gpuzarr() {",
        "    local context state state_descr line",
        "    typeset -A opt_args",
        "    _arguments -C '--help[print help]' '--version[print the version]' \\",
        "        '1:command:->command' '*::argument:->argument'",
        '    case "$state" in',
        "        command)",
        "            local -a commands=(",
    )
    for command in commands:
        yield f"                {_quoted(command.name + ':' + command.help)}"
    yield from (
        "            )",
        "            _describe command commands ;;",
        "        argument)",
        '            case "$line[1]" in',
    )
    for command in commands:
        yield f"                {command.name}) _arguments \\"
        for flags, takes_value, text in command.options:
            description = text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
            for flag in flags:
                yield f"                    {_quoted(f'*{flag}[{description}]' + (':value:_files' * takes_value))} \\"
        action = f"({' '.join(command.words)})" if command.words else "_files"
        yield f"                    {_quoted(f'*:argument:{action}')} ;;"
    yield from ("            esac ;;", "    esac", "}", '_gpuzarr "$@"')


def _quoted(text: str) -> str:
    """As one word of a shell. (fish knows other escapes inside of quotes, but none that a help text has.)"""
    return "'" + text.replace("'", "'\\''") + "'"
