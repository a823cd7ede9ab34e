"""Command line, the only package that uses Typer, rich and exit codes. Commands import torch inside functions."""
