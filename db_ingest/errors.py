"""The errors that kerasgen raises on purpose; commands turn them into one line and an exit status."""


class KerasgenError(Exception):
    """Base of every error raised on purpose. ``exit_status`` is what a command ends with."""

    exit_status = 1


class InputError(KerasgenError, ValueError):
    """The caller's input is wrong: a file, a flag, a name. The message says where and what was expected."""

    exit_status = 2


class MissingFileError(InputError, FileNotFoundError):
    """An input file does not exist or cannot be read."""


class NoDatabaseError(InputError, FileNotFoundError):
    """A path or URI holds no kerasgen database."""


class RunError(KerasgenError, RuntimeError):
    """The work failed while running although the input was accepted."""
