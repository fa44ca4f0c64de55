"""What the rooms hand each other: frozen dataclasses, stored as JSON that a person can open."""
