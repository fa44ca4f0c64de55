"""A package, so that its fixture ends with its last test."""
