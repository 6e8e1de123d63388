"""What outlives the process: one protocol and its back ends."""
