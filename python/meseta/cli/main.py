"""The list of commands, and what is the same for all of them: parsing, settings, errors, exit codes.

Only the command that was named is imported, so that `meseta --help` and completion stay quick.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol, cast

from meseta.cli.terminal import CANNOT_CONNECT, CONFIGURATION, DONE, FAILED, USAGE, Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meseta.settings import Settings


class Command(NamedTuple):
    """A command: its name, the module that runs it, and one line about it."""

    name: str
    module: str
    summary: str


COMMANDS = (
    Command("up", "meseta.cli.up", "Serve a configuration, or without one the keys in the environment."),
    Command("check", "meseta.cli.check", "Say everything that is wrong with a configuration."),
    Command("status", "meseta.cli.status", "Say what the running plane serves, since when, and how much."),
    Command("health", "meseta.cli.health", "Show the state of every target, or reset it."),
    Command("agents", "meseta.cli.agents", "List agents, read what they print, restart or scale them."),
    Command(
        "reload", "meseta.cli.reload", "Have the running plane read its file again, and say what came of it."
    ),
    Command(
        "demo", "meseta.cli.demo", "Send two requests through a plane of its own, without key or network."
    ),
    Command("sim", "meseta.cli.sim", "Serve the simulated provider on its own."),
    Command(
        "config",
        "meseta.cli.config",
        "Show a resolved configuration, what it would change, or the JSON Schema.",
    ),
    Command(
        "doctor", "meseta.cli.doctor", "Check this machine and the configuration for what would go wrong."
    ),
    Command(
        "eval", "meseta.cli.evaluate", "Measure how well routes are chosen, on rows whose route is known."
    ),
    Command("import", "meseta.cli.importing", "Write a configuration out of a file of Plano or LiteLLM."),
    Command("explain", "meseta.cli.explain", "Explain an error code: its cause and its cure."),
    Command("completion", "meseta.cli.completion", "Print the completion script of a shell."),
)

EPILOG = """\
commands:
{commands}

first steps:
  meseta demo                see it work, without key or network
  meseta up                  serve the keys in the environment, and sim/*
  meseta up meseta.yaml      serve a configuration

exit codes: 0 done, 1 failed, 2 usage, 3 configuration, 4 cannot connect, 5 timed out, 6 refused
"""


class Module(Protocol):
    """What the module of a command offers."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare options and arguments."""

    def run(self, given: argparse.Namespace, terminal: Terminal, settings: Settings) -> int:
        """Do it and return the exit code."""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)


class Parser(argparse.ArgumentParser):
    """A parser whose errors name the nearest right word."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options.setdefault("allow_abbrev", False)
        options.setdefault("formatter_class", _Formatter)
        super().__init__(*arguments, **options)

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and how to get help, and leave with the exit code for wrong usage."""
        self.exit(USAGE, f"error: {message}\n  Run `{self.prog} --help` for what it understands.\n")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Like the original, with the nearest option for one that does not exist."""
        given, rest = self.parse_known_args(args, namespace)
        if rest:
            options = [option for action in _actions(self, rest, args) for option in action.option_strings]
            near = get_close_matches(rest[0].partition("=")[0], options, n=1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            self.error(f"`{rest[0]}` is not understood here.{hint}")
        return given


def _actions(parser: argparse.ArgumentParser, _rest: Sequence[str], args: Sequence[str] | None) -> list[Any]:
    """Return the actions of the innermost command that the arguments name."""
    inner = parser
    for word in args or []:
        for action in inner._actions:
            if isinstance(action, argparse._SubParsersAction) and word in action.choices:
                inner = action.choices[word]
    return inner._actions


def build_parser(named: str | None) -> Parser:
    """Return the parser; only the command `named` (or every one, for `*`) has its arguments declared."""
    # Our own list, because the column widths of argparse differ from one Python to the next.
    listed = "\n".join(f"  {command.name:<11} {command.summary}" for command in COMMANDS)
    parser = Parser(
        prog="meseta",
        description="Meseta, an AI gateway in one process and one file.",
        epilog=EPILOG.format(commands=listed),
        usage="meseta [-h] [--version] COMMAND ...",
    )
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    commands = parser.add_subparsers(
        dest="command", prog="meseta", help=argparse.SUPPRESS, parser_class=Parser
    )
    for command in COMMANDS:
        inner = commands.add_parser(command.name, description=command.summary)
        if named in {command.name, "*"}:
            _module(command).arguments(inner)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    named = next((word for word in words if not word.startswith("-")), None)
    names = [command.name for command in COMMANDS]
    if named is not None and named not in names:
        near = get_close_matches(named, names, n=1)
        hint = f"Did you mean `meseta {near[0]}`?" if near else "Run `meseta --help` for the list."
        Terminal().fail(f"There is no command `{named}`.", hint)
        return USAGE
    try:
        parser = build_parser(named)
        given = parser.parse_args(words)
        if given.version:
            from meseta.version import __version__

            Terminal().data(f"meseta {__version__}")
            return DONE
        if given.command is None:
            parser.print_help()
            return DONE
        return _run(given)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else FAILED
    except BrokenPipeError:
        # The reader of our output went away; nothing is left to tell it. Keep the exit from complaining too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return 130


def _run(given: argparse.Namespace) -> int:
    from meseta.settings import SettingError, Settings

    try:
        settings = Settings.from_environment()
    except SettingError as error:
        Terminal().fail(str(error))
        return CONFIGURATION
    terminal = Terminal(settings.log)
    warnings.showwarning = lambda message, *_rest, **_more: terminal.warn(str(message))
    command = next(command for command in COMMANDS if command.name == given.command)
    try:
        return _module(command).run(given, terminal, settings)
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as error:
        if settings.log == "debug":
            raise
        return explain_error(error, terminal)


def explain_error(error: Exception, terminal: Terminal) -> int:
    """Say what went wrong without a traceback, and which exit code it is."""
    from meseta.config.problems import ConfigError
    from meseta.errors import MesetaError, NotRunningError, SnapshotError

    if isinstance(error, ConfigError):
        terminal.problems(error.problems)
        count = len(error.errors)
        terminal.say(f"{count} error{'s' * (count != 1)}. `meseta explain CODE` says more.", "error")
        return CONFIGURATION
    if isinstance(error, NotRunningError):
        terminal.fail(str(error))
        return CANNOT_CONNECT
    if isinstance(error, MesetaError):
        terminal.fail(f"[{error.code}] {error}")
        return CONFIGURATION if isinstance(error, SnapshotError) else FAILED
    terminal.fail(
        f"{type(error).__name__}: {error}", "This is a defect. MESETA_LOG=debug shows where it happened."
    )
    return FAILED


def _module(command: Command) -> Module:
    return cast("Module", import_module(command.module))


if __name__ == "__main__":
    raise SystemExit(main())
