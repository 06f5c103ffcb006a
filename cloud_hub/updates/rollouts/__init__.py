"""How a release reaches a fleet: wave after wave, each counted as done only by what was measured."""
