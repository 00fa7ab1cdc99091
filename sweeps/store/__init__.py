"""A stored sweep: locations, metadata, chunks, the lease, and the status of a store."""
