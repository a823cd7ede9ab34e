"""Fit of the prior, a Gaussian mixture or a flow, to the latents of the training images."""
