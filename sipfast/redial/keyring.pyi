"""What the server says who it is with, when a phone or an upstream asks (cimport only)."""
