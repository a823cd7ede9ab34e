"""Entry point of `python -m latentcli`, the same as the `latentcli` command."""

from latentcli.cli.app import main

if __name__ == "__main__":
    main()
