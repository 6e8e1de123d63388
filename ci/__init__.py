"""What CI and the Makefile run."""
