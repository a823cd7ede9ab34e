"""Explorer: a browser page with sliders for a model's vectors, served from this machine or written as one file."""
