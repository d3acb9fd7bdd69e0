"""Plain modules that know no loss and no optimiser."""
