"""Many networks: specs, plans, stores and the executor that runs them."""
