"""The records that rooms exchange: frozen dataclasses, stored as JSON that people can read."""
