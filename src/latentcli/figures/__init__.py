"""Figures: sheets of pictures, maps of pictures and their layouts, and tables."""
