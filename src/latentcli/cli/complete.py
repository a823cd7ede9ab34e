"""Shell completion: names of models and vectors, from the headers of their files.

A file that cannot be read has no name here: completion must print no error.
"""

import contextlib

import typer

from latentcli.errors import LatentCLIError


def model_names(incomplete: str) -> list[str]:
    """Names of models, the user's own before the bundled ones."""
    with contextlib.suppress(LatentCLIError, OSError):
        from latentcli.storage import catalog

        return [entry.name for entry in catalog.candidates(None)]
    return []


def vector_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the vectors of the command's model, or of all models where it names none."""
    with contextlib.suppress(LatentCLIError, OSError):
        from latentcli.storage import catalog

        named = ctx.params.get("old", ctx.params.get("model"))  # `vectors refit --from` names the old model
        return sorted({name for entry in catalog.candidates(named) for name in catalog.vectors_of(entry)})
    return []


def axis_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of vectors, each behind the names and commas that are typed already."""
    before = incomplete[: incomplete.rfind(",") + 1]
    return [f"{before}{name}" for name in vector_names(ctx, incomplete)]
