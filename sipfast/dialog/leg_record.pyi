"""What is stored of a leg (cimport only)."""
