"""The language that gateways and hubs speak: messages, bundles, counters and the link. Knows neither side."""
