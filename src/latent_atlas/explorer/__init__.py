"""The browser explorer: a server for a run, and a folder that needs none."""
