"""Sharpening: trains the decoder of a finished model further, against a discriminator."""
