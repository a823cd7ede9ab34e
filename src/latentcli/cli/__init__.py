"""The command line: the only place that knows Typer, rich and exit codes. Commands load torch in their bodies."""
