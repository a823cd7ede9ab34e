"""Pictures: reading, writing, animations, crop boxes, faces."""
