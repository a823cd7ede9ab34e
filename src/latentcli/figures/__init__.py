"""Figures: sheets of pictures, maps, and the layouts of maps."""
