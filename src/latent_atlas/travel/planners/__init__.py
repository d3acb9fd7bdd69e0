"""The planners: one class each, whose fields are its settings, and their table of names."""
