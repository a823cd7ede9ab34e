"""Evaluation of a trained model: metrics, samples, baselines, and a diagnosis in plain words."""
