"""density_ratio."""
