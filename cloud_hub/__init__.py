"""The fleet: what gateways say is verified, kept and shown; models go down signed."""
