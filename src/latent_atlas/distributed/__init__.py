"""Work that outgrows one process: jobs over shards of data, and training with Ray or torchrun."""
