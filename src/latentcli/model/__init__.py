"""The model package, shared by every command: networks, posterior, objective, prior, and the model file."""
