"""Records model training by itself."""
