"""The routes of the explorer's server, one file for each subject."""
