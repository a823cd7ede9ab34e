"""Concept vectors: directions in latent space, fitted to labelled images, measured, and used to edit latents."""
