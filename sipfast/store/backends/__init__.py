"""Where the tables lie: LMDB, and memory."""
