"""What a machine's vibration says: numpy only, pure functions of windows, and a kit that strings them together."""
