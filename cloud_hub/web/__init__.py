"""The pages and the HTTP API of the hub: reads what the rooms below know, decides nothing."""
