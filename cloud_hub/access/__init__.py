"""Who may say what: the enrolment authority, keys, tokens and the audit chain."""
