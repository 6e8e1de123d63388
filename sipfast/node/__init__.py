"""The process around the core: worker, supervisor and administration."""
