"""A sweep as it is stored: locations, metadata, chunks, the lease, and what a store says of itself."""
