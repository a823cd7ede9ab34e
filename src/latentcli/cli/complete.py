"""Shell completion of the names of models and vectors, which are read from the headers of their files.

Unreadable files are left out silently, because completion must not print errors.
"""

import contextlib

import typer

from latentcli.errors import LatentCLIError


def model_names(incomplete: str) -> list[str]:
    """Names of all models, the user's own first; Typer drops those that do not begin with `incomplete`."""
    with contextlib.suppress(LatentCLIError, OSError):
        from latentcli.storage import catalog

        return [entry.name for entry in catalog.candidates(None)]
    return []


def vector_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the vectors saved with the model typed on the command line, or with all models if none is typed."""
    with contextlib.suppress(LatentCLIError, OSError):
        from latentcli.storage import catalog

        named = ctx.params.get("old", ctx.params.get("model"))  # `vectors refit --from` names the old model
        return sorted({name for entry in catalog.candidates(named) for name in catalog.vectors_of(entry)})
    return []


def axis_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Completions of a comma-separated list, one per saved vector: the list up to its last comma, then the name."""
    before = incomplete[: incomplete.rfind(",") + 1]
    return [f"{before}{name}" for name in vector_names(ctx, incomplete)]
