"""Concept vectors: fitting them, telling what they are worth, moving latents along them."""
