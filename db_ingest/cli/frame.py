"""The frame of a command: flags from a function's signature, a config file, errors in one line, an exit status."""

from __future__ import annotations

import argparse
import importlib
import inspect
import itertools
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from db_ingest import settings
from db_ingest.errors import InputError, KerasgenError
from db_ingest.settings import Parameter

log = logging.getLogger("kerasgen")

_FRAME = ("config", "print_config", "verbose", "quiet", "debug")
_S3 = {
    "endpoint_url": "address of an S3 service other than AWS",
    "region": "region of the bucket",
    "profile": "profile of the AWS configuration to take credentials from",
    "addressing_style": "path or virtual; path when an endpoint is given",
}


@dataclass(frozen=True)
class Command:
    """A command and the function of the same name.

    Args:
        prog: name on the shell.
        function: ``"module:function"``; its module must be quick to import, and its parameters are settings.
        report: prints what the function returned.
        epilog: examples shown under the flags.
    """

    prog: str
    function: str
    report: Callable[[Any], None]
    epilog: str = ""

    def load(self) -> Callable[..., Any]:
        """Import the function."""
        module, _, name = self.function.partition(":")
        return getattr(importlib.import_module(module), name)

    def parameters(self) -> dict[str, Parameter]:
        """The function's settings, each of which is a flag, in order."""
        return settings.parameters(self.load())

    def parser(self) -> argparse.ArgumentParser:
        """Build the parser."""
        summary = (inspect.getdoc(self.load()) or "").split("\n\n")[0]
        parser = _Parser(
            prog=self.prog,
            description=" ".join(summary.split()),
            epilog=self.epilog,
            usage=self._usage(),
            formatter_class=_formatter(),
            allow_abbrev=False,
        )
        groups: dict[str, Any] = {"options": parser}
        for parameter in self.parameters().values():
            heading = parameter.setting.group
            if heading not in groups:
                groups[heading] = parser.add_argument_group(heading)
            _add(groups[heading], parameter)
        frame = parser.add_argument_group("every command")
        frame.add_argument("--config", metavar="FILE.yaml", help="read flags by name from YAML; the line overrules it")
        frame.add_argument("--print_config", action="store_true", help="print the resolved flags as YAML and end")
        frame.add_argument("--verbose", action="store_true", help="say more while working")
        frame.add_argument("--quiet", action="store_true", help="say only warnings and errors")
        frame.add_argument("--debug", action="store_true", help="show the traceback of an error")
        store = parser.add_argument_group("s3:// locations (otherwise from the environment, as boto3 does)")
        for name, text in _S3.items():
            choices = ("path", "virtual") if name == "addressing_style" else None
            store.add_argument(f"--s3_{name}", choices=choices, metavar=None if choices else "VALUE", help=text)
        frame.add_argument("--version", action="version", version=_version())
        return parser

    def _usage(self) -> str:
        needed = [parameter for parameter in self.parameters().values() if parameter.required]
        words = [f"--{parameter.name} {parameter.setting.metavar or parameter.name.upper()}" for parameter in needed]
        return " ".join([self.prog, *words, "[--flag ...]"])

    def run(self, argv: Sequence[str] | None = None) -> int:
        """Parse, call and report; returns the exit status.

        Args:
            argv: the words after the command's name; None for those of the process, which is to end with the command.
        """
        own = argv is None
        try:
            status = self._run(list(sys.argv[1:] if argv is None else argv))
            if own:
                _leave_nothing_to_interrupt()
        except KeyboardInterrupt:
            if own:
                _leave_nothing_to_interrupt()
            status = _say(self.prog, "interrupted")
        return status

    def _run(self, words: list[str]) -> int:
        try:
            parser = self.parser()
            given = vars(parser.parse_args(_with_config(parser, words)))
        except InputError as error:
            return _say(self.prog, error)
        frame = {name: given.pop(name) for name in _FRAME}
        store = {name: given.pop(f"s3_{name}") for name in _S3}
        if frame["print_config"]:
            import yaml

            sys.stdout.write(yaml.safe_dump(given, sort_keys=False))
            return 0
        _set_up_logging(verbose=frame["verbose"], quiet=frame["quiet"])
        _end_as_by_control_c()
        try:
            if any(store.values()):
                from db_ingest import storage

                storage.apply_s3_flags(**store)
            self.report(self.load()(**given))
            sys.stdout.flush()
        except KerasgenError as error:
            if frame["debug"]:
                traceback.print_exc()
            return _say(self.prog, error)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
            if frame["debug"]:
                traceback.print_exc()
            return _say(self.prog, InputError(f"{error.filename}: {error.strerror}"))
        except Exception as error:
            if frame["debug"]:
                traceback.print_exc()
            return _say(self.prog, f"failed: {type(error).__name__}: {error} (--debug shows where)")
        return 0


@dataclass(frozen=True)
class CommandByFlag(Command):
    """A command that is another function, with flags of its own, where one of its flags has certain values.

    Args:
        by: the flag.
        others: value of the flag to the command that it stands for; for all other values it is this one.
    """

    by: str = ""
    others: Mapping[str, Command] = field(default_factory=dict)

    def _run(self, words: list[str]) -> int:
        """Find out which command is meant, refuse flags of the others, and run it."""
        try:
            given = _given(self.prog, words)
        except InputError as error:
            return _say(self.prog, error)
        value = given.get(self.by)
        chosen = self.others.get(str(value), self)
        every = {name for command in (self, *self.others.values()) for name in command.parameters()}
        foreign = [name for name in given if name in every and name not in chosen.parameters()]
        if foreign:
            named = f"--{self.by} {value or self.parameters()[self.by].default}"
            return _say(
                self.prog, InputError(f"--{foreign[0]} is no flag of {named}; {self.prog} {named} --help lists them")
            )
        return chosen._run(words) if chosen is not self else super()._run(words)


def _given(prog: str, words: list[str]) -> dict[str, Any]:
    """Flags by name, those of the file of ``--config`` first, with the last word that each was given."""
    finder = _Parser(prog=prog, add_help=False, allow_abbrev=False)
    finder.add_argument("--config")
    path = finder.parse_known_args(words)[0].config
    given: dict[str, Any] = dict(_read_config(path)) if path is not None else {}
    for word, following in itertools.pairwise([*words, ""]):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            given[name.removeprefix("no-")] = value if equals else following
    return given


def start_light() -> None:
    """Spare a process that only moves data what costs it time: NumPy's idle threads, and garbage collected early."""
    import gc

    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(100_000, 20, 100)


def run_group(prog: str, commands: Mapping[str, Command], argv: Sequence[str] | None = None) -> int:
    """Run one of several commands by the first word of the line, e.g. ``gen_db info``."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in commands:
        status = commands[words[0]].run(words[1:])
        if argv is None:
            _leave_nothing_to_interrupt()
        return status
    parser = _Parser(prog=prog, formatter_class=_formatter(), allow_abbrev=False)
    parser.add_argument("--version", action="version", version=_version())
    inner = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, command in commands.items():
        inner.add_parser(name, help=(inspect.getdoc(command.load()) or "").split("\n")[0])
    parser.parse_args(words)
    return 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (--help lists the flags)\n")


def _formatter() -> Any:
    if not sys.stdout.isatty():
        return argparse.HelpFormatter
    from rich_argparse import HelpPreviewAction, RichHelpFormatter  # noqa: F401

    return RichHelpFormatter


def _version() -> str:
    from importlib.metadata import version

    return f"kerasgen {version('kerasgen')}"


def _add(group: Any, parameter: Parameter) -> None:
    setting, name = parameter.setting, f"--{parameter.name}"
    text = setting.help.replace("%", "%%")
    default = None if parameter.required else parameter.default
    if parameter.switch:
        group.add_argument(name, *setting.also, action=argparse.BooleanOptionalAction, default=default, help=text)
        return
    shown = f"default: {parameter.shown_default}" if parameter.shown_default else ""
    said = "; ".join(part for part in (parameter.unit, shown) if part)
    group.add_argument(
        name,
        *setting.also,
        type=parameter.parse,
        nargs="+" if parameter.many else None,
        choices=setting.choices,
        metavar=parameter.placeholder,
        default=default,
        required=parameter.required,
        help=f"{text} ({said})" if said else text,
    )


def _with_config(parser: argparse.ArgumentParser, words: list[str]) -> list[str]:
    """Put the words of ``--config`` before those of the line, so that the line wins."""
    finder = _Parser(prog=parser.prog, add_help=False, allow_abbrev=False)
    finder.add_argument("--config")
    path = finder.parse_known_args(words)[0].config
    if path is None:
        return words
    document = _read_config(path)
    known = {action.dest: action for action in parser._actions}
    result: list[str] = []
    for key, value in document.items():
        action = known.get(key)
        if action is None or key in (*_FRAME, "help", "version"):
            raise InputError(f"--config {path}: {parser.prog} has no flag {key!r}")
        if isinstance(action, argparse.BooleanOptionalAction):
            if not isinstance(value, bool):
                raise InputError(f"--config {path}: {key} is {value!r}; expected true or false")
            result.append(f"--{key}" if value else f"--no-{key}")
        elif value is not None:
            # One word with "=" for a single value, so that a value may begin with a dash.
            if isinstance(value, list):
                result += [f"--{key}", *(_word(item) for item in value)]
            elif action.nargs == "+":
                result += [f"--{key}", _word(value)]
            else:
                result.append(f"--{key}={_word(value)}")
    return result + words


def _read_config(path: str) -> dict[str, Any]:
    import yaml

    try:
        with open(path) as handle:
            document = yaml.safe_load(handle)
    except OSError as error:
        raise InputError(f"--config {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--config {path}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(document, dict):
        raise InputError(f"--config {path}: expected flags and their values")
    return document


def _word(value: Any) -> str:
    return ",".join(_word(item) for item in value) if isinstance(value, list) else str(value)


def _set_up_logging(*, verbose: bool, quiet: bool) -> None:
    if not verbose:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers = [handler]
    log.propagate = False
    log.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)


def _end_as_by_control_c() -> None:
    """Let what ends a job on a cluster (SIGTERM) end a command as Ctrl-C does: in order, with a line and status 1."""
    import signal
    import threading

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)


def _leave_nothing_to_interrupt() -> None:
    """Let Ctrl-C pass by a process that only has to end: it has said how the command went."""
    import signal
    import threading

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _say(prog: str, error: object) -> int:
    sys.stderr.write(f"{prog}: error: {' '.join(str(error).split())}\n")
    return error.exit_status if isinstance(error, KerasgenError) else 1
