"""The fuzzer: see __main__.py."""
