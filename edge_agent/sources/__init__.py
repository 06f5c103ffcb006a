"""Where samples come from, what says that a part is there, and whether what came can be trusted."""
