"""Images from their source to a uint8 dataset: listing, split, decoding, and a cache whose checksums are verified."""
