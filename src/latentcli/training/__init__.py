"""Training: `plan` settles every choice, `run` reports while it works, everything can be interrupted and resumed."""
