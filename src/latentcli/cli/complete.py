"""Names that the shell completes: of models and vectors, from the headers of their files.

While somebody types nothing may be said, so what cannot be read has no names.
"""

import contextlib

import typer

from latentcli.errors import LatentCLIError


def model_names(incomplete: str) -> list[str]:
    """Models, the user's own before the bundled ones."""
    with contextlib.suppress(LatentCLIError, OSError):
        from latentcli.storage import catalog

        return [entry.name for entry in catalog.candidates(None)]
    return []


def vector_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Vectors of the model that the command names, else of all models."""
    with contextlib.suppress(LatentCLIError, OSError):
        from latentcli.storage import catalog

        named = ctx.params.get("old", ctx.params.get("model"))  # `vectors refit` takes them from another model
        return sorted({name for entry in catalog.candidates(named) for name in catalog.vectors_of(entry)})
    return []


def axis_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The same, after the names and commas that are there already."""
    before = incomplete[: incomplete.rfind(",") + 1]
    return [f"{before}{name}" for name in vector_names(ctx, incomplete)]
