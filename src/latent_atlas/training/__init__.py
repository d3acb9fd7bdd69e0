"""The VAE-GAN's losses, the updates of one step, and the training loop.

`loop.train` makes a run from images, `codes_run.fit` makes one from codes alone.
"""
