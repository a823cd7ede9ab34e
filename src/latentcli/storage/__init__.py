"""Files on disk: models, vectors, latents, metrics, and how they are written."""
