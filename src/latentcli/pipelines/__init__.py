"""The use cases behind the commands, one file per family. They check eagerly, then yield events; the CLI draws."""
