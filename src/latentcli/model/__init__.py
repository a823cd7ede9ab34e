"""The model package, shared by every command: networks, posterior, objective, prior, and the file they are kept in."""
