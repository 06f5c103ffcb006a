"""The hub's end of the line down: which bundles there are."""
