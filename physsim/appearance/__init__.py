"""How bodies look: splats bound to the material, cameras, rasterisers, fits to pictures."""
