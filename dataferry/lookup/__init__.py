"""The way from a name to a verified local path."""
