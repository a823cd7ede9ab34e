"""`python -m latentcli` is the `latentcli` command."""

from latentcli.cli.app import main

if __name__ == "__main__":
    main()
