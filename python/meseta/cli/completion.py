"""`meseta completion`: a completion script for bash, zsh or fish, made from the parsers."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from meseta.cli.terminal import DONE, Terminal

if TYPE_CHECKING:
    from meseta.settings import Settings

Words = dict[str, list[tuple[str, str]]]
"""For each command (and `config show`): its options and verbs, each with one line about it."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """SHELL."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh or fish")
    parser.epilog = 'bash: eval "$(meseta completion bash)"   fish: meseta completion fish | source'


def run(given: argparse.Namespace, terminal: Terminal, settings: Settings) -> int:  # noqa: ARG001 (one shape for all)
    """Print the script."""
    words = vocabulary()
    terminal.data({"bash": _bash, "zsh": _zsh, "fish": _fish}[given.shell](words))
    return DONE


def vocabulary() -> Words:
    """Every command with what may follow it; the empty name stands for `meseta` itself."""
    from meseta.cli.main import build_parser

    words: Words = {}
    _collect(build_parser("*"), "", words)
    return words


def _collect(parser: argparse.ArgumentParser, name: str, words: Words) -> None:
    here = words.setdefault(name, [])
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice, inner in action.choices.items():
                here.append((choice, inner.description or ""))
                _collect(inner, f"{name} {choice}".strip(), words)
        elif action.choices and not action.option_strings:
            here += [(str(choice), "") for choice in action.choices]
        else:
            here += [(option, action.help or "") for option in action.option_strings]


def _cases(words: Words) -> str:
    """`case` branches from the words before the cursor to what may follow."""
    branches = []
    for name, offers in words.items():
        listed = " ".join(offer for offer, _ in offers)
        branches.append(f'    "{name}") offers="{listed}" ;;')
    return "\n".join(branches)


def _bash(words: Words) -> str:
    return f"""\
_meseta() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" path="" offers="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "${{COMP_WORDS[i]}}" in
      -*) ;;
      *) [ "$i" -le 2 ] && path="${{path:+$path }}${{COMP_WORDS[i]}}" ;;
    esac
  done
  case "$path" in
{_cases(words)}
    *) path="${{path%% *}}" ;;
  esac
  [ -z "$offers" ] && case "$path" in
{_cases(words)}
  esac
  COMPREPLY=($(compgen -W "$offers" -- "$word") $(compgen -f -- "$word"))
}}
complete -o filenames -F _meseta meseta"""


def _zsh(words: Words) -> str:
    return f"""\
autoload -Uz bashcompinit && bashcompinit
{_bash(words)}"""


def _fish(words: Words) -> str:
    lines = []
    top = " ".join(name for name, _ in words[""] if not name.startswith("-"))
    for name, offers in words.items():
        used = name.split()
        if used:
            condition = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in used)
        else:
            condition = f"not __fish_seen_subcommand_from {top}"
        for offer, about in offers:
            text = about.replace("'", "\\'").replace("%(default)s", "the default")
            if offer.startswith("--"):
                lines.append(f"complete -c meseta -n '{condition}' -l {offer[2:]} -d '{text}'")
            elif not offer.startswith("-"):
                lines.append(f"complete -c meseta -n '{condition}' -a {offer} -d '{text}'")
    return "\n".join(lines)
