"""A record waits on the gateway's disk and leaves it: outbox, recorder, uplink."""
