"""From a source of images to a uint8 dataset: listed, split, decoded once, kept in a cache that is never trusted."""
