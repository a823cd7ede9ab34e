"""What can go wrong for a user, and is told in one line.

LatentCLIError                   shown to the user, exit 1
├── ConfigError                  a value that cannot work: which one, got what, allowed what
│   └── UsageError               an option that cannot be read, exit 2
├── ImageError                   unreadable file, empty folder
├── FileFormatError              not ours, wrong kind, damaged, newer than this program
├── ModelMismatch                latents or vector made by another model
└── OutputExists                 a file would be overwritten

Anything else that is raised is a bug of ours and keeps its traceback.
"""


class LatentCLIError(Exception):
    """Base of everything that is shown to the user as a message: what, where, what next."""


class ConfigError(LatentCLIError):
    """A value that cannot work."""


class UsageError(ConfigError):
    """An option that cannot be read as what it should be, or goes with another one."""


class ImageError(LatentCLIError):
    """A picture that cannot be read, or a folder without any."""


class FileFormatError(LatentCLIError):
    """A file that is not ours, of another kind, damaged, or newer than this program."""


class ModelMismatch(LatentCLIError):
    """Latents or a concept vector that another model made."""


class OutputExists(LatentCLIError):
    """A file that would be overwritten."""
