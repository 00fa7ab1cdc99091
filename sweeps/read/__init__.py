"""A sweep as it is used: opened, selected from, averaged and drawn."""
