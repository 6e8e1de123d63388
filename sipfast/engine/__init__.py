"""The core as a whole: bytes in, bytes out."""
