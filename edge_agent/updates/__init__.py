"""A release arrives and proves itself: trust, objects, slots, self-test, activation, probation."""
