"""The command line: the only room that reads argv, prints, and chooses exit codes."""
