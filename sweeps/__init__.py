"""Many networks: specs, plans, stores and the engine that runs them."""
