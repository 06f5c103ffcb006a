"""A verdict leaves for the line, and each attempt to tell it leaves a record of how it went."""
