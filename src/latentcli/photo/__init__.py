"""Photos: reading and saving their files, finding the parts to edit, and merging edits into the pixels."""
