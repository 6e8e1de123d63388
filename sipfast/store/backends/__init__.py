"""Where the store's records lie: LMDB, and memory."""
