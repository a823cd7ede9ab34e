"""Errors that are shown to the user in one line.

LatentCLIError                   shown to the user, exit 1
├── ConfigError                  a value that cannot work: which one, got what, allowed what
│   └── UsageError               a value that cannot be parsed, exit 2
├── ImageError                   unreadable file, empty folder
├── FileFormatError              foreign, of the wrong kind, damaged, or newer than this program
├── ModelMismatch                latents or vector made by another model
└── OutputExists                 a file would be overwritten

Messages name parameters in backticks, as Python has them; the command line turns these into its options. Any other
exception is a bug of latentcli and keeps its traceback.
"""


class LatentCLIError(Exception):
    """Base of all errors shown to the user; the message says what, where, and what next."""


class ConfigError(LatentCLIError):
    """A value that cannot work."""


def missing_extra(what: str, extra: str, instead: str = "") -> ConfigError:
    """The error where `what` needs an extra that is not installed, with the command that installs it.

    >>> print(missing_extra(".mp4", "video", "write a .webp"))
    .mp4 needs an extra; in the folder of latentcli's source code: pip install '.[video]'; or write a .webp
    """
    line = f"{what} needs an extra; in the folder of latentcli's source code: pip install '.[{extra}]'"
    return ConfigError(f"{line}; or {instead}" if instead else line)


class UsageError(ConfigError):
    """A value that cannot be parsed, or that conflicts with another one."""


class ImageError(LatentCLIError):
    """A picture that cannot be read, or a folder without any."""


class FileFormatError(LatentCLIError):
    """A file of another program or kind, damaged, or newer than this program."""


class ModelMismatch(LatentCLIError):
    """Latents or a concept vector that another model made."""


class OutputExists(LatentCLIError):
    """A file that would be overwritten."""
