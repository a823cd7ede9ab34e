"""Did it work? Metrics, samples and baselines of a trained model, and a verdict in plain words."""
