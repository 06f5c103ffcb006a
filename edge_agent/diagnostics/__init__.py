"""What the operator may ask: why a verdict is what it is, and what suits this gateway."""
