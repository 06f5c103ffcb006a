"""What the fleet's counters say: windows, findings, alarms."""
