"""A sweep as it runs: blocks, workers, executors, progress and repair."""
