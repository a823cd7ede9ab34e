"""Exceptions that are shown to the user as one line.

LatentCLIError                   exit code 1
├── ConfigError                  an invalid value: which one, what was given, what is allowed
│   └── UsageError               a value that cannot be parsed, or conflicts: exit code 2
├── ImageError                   unreadable file, empty folder
├── FileFormatError              a file of another program or kind, damaged, or newer than this program
├── ModelMismatch                latents or vector made by another model
└── OutputExists                 a file would be overwritten

Messages name parameters of Python in backticks, which the command line turns into its options. Any other exception
is a bug of latentcli and keeps its traceback.
"""


class LatentCLIError(Exception):
    """Base of all errors shown to the user; the message says what is wrong, where, and what to do."""


class ConfigError(LatentCLIError):
    """An invalid value or combination of values; the message says what is allowed."""


def missing_extra(what: str, extra: str, instead: str = "") -> ConfigError:
    """ConfigError for a feature whose optional dependencies are missing, with the pip command that installs them.

    >>> print(missing_extra(".mp4", "video", "write a .webp"))
    .mp4 needs an extra; in the folder of latentcli's source code: pip install '.[video]'; or write a .webp
    """
    line = f"{what} needs an extra; in the folder of latentcli's source code: pip install '.[{extra}]'"
    return ConfigError(f"{line}; or {instead}" if instead else line)


class UsageError(ConfigError):
    """A value that cannot be parsed, or that conflicts with another value."""


class ImageError(LatentCLIError):
    """A picture that cannot be read, or a folder without pictures."""


class FileFormatError(LatentCLIError):
    """A file of another program or kind, damaged, or newer than this program."""


class ModelMismatch(LatentCLIError):
    """Latents or a concept vector of another model than the one in use."""


class OutputExists(LatentCLIError):
    """An output file that exists already and would be overwritten."""
