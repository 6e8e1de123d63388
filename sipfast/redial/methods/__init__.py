"""How a caller's phone is made to ring: one file for each way, behind the interface of `method`."""
