"""The demonstration behind `scripts/demo`: a hub and three gateways play a day, and the account of it is checked."""
