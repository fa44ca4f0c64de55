"""Objects in a store (S3, Google Cloud Storage, Azure): their paths, and how they are read."""

from nocturne.objects.path import (
    Location,
    ObjectPath,
    is_uri,
    is_within,
    joined,
    leading,
    local,
    location,
    relative,
    size_of,
)

__all__ = [
    "Location",
    "ObjectPath",
    "is_uri",
    "is_within",
    "joined",
    "leading",
    "local",
    "location",
    "relative",
    "size_of",
]
