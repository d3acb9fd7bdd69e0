"""Networks: encoder, decoder, the two discriminators, and the VAE-GAN that holds them.

They know no loss and no optimiser.
"""
