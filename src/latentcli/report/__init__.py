"""HTML reports of a model and of its concept vectors."""
