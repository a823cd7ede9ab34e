"""The fitted prior: a mixture or a flow over the encoded training set."""
