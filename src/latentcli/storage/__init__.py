"""Files on the disk: models, vectors, latents and metrics, and safe ways to write them."""
