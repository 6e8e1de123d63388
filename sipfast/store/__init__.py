"""What outlives the process: a repository, and the back ends under it."""
