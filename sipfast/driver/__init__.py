"""The driver: the loop, the clock, the timer and the batch around the engine, which does no I/O and reads no clock."""
