"""Errors that are shown to the user in one line.

LatentCLIError                   shown to the user, exit 1
├── ConfigError                  a value that cannot work: which one, got what, allowed what
│   └── UsageError               an option that cannot be parsed, exit 2
├── ImageError                   unreadable file, empty folder
├── FileFormatError              foreign, of the wrong kind, damaged, or newer than this program
├── ModelMismatch                latents or vector made by another model
└── OutputExists                 a file would be overwritten

Any other exception is a bug of latentcli and keeps its traceback.
"""


class LatentCLIError(Exception):
    """Base of all errors shown to the user; the message says what, where, and what next."""


class ConfigError(LatentCLIError):
    """A value that cannot work."""


class UsageError(ConfigError):
    """An option that cannot be parsed, or that conflicts with another one."""


class ImageError(LatentCLIError):
    """A picture that cannot be read, or a folder without any."""


class FileFormatError(LatentCLIError):
    """A file of another program or kind, damaged, or newer than this program."""


class ModelMismatch(LatentCLIError):
    """Latents or a concept vector that another model made."""


class OutputExists(LatentCLIError):
    """A file that would be overwritten."""
