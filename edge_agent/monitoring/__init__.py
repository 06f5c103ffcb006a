"""What the gateway counts of its own samples and verdicts, and what it finds in the counts."""
