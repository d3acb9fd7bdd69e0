"""A synthetic atlas for trying the explorer without a run."""
