"""What the neighbours may ask over local HTTP: metrics, health and status."""
