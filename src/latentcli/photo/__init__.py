"""A photo's file, the part of it that a model sees, and the edit merged back."""
