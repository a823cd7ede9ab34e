"""Sharpening: the decoder of a trained model, trained further against a discriminator."""
