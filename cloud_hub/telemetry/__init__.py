"""The hub's end of the line up: messages arrive, are verified, archived and answered."""
