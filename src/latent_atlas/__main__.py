"""`python -m latent_atlas` is the command `latent-atlas`."""

from latent_atlas.cli.entry import main

if __name__ == "__main__":
    main()
