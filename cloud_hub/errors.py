"""What can go wrong in the hub, named by what its operator should do next.

HubError
├── ConfigError      correct the file or the option it names; the CLI exits with 2
├── StorageError     make room, rights or a connection, then try again
├── ValueRefused     drop what was to be stored: it will never fit
├── EnrolmentError   refuse the request; nothing was signed
├── CatalogueError   refuse the bundle; nothing was added
├── TrustError       refuse the key or what it signed; nothing was signed or kept
├── HubAway          start that hub or correct its address; nothing was published
├── RolloutError     correct the plan, or ask for what this rollout can still do; nothing was changed
├── FactoryError     install what is missing or correct the recipe; no bundle was written
│   └── LeftOut      what somebody else publishes is not here: that one model is not made, the others are
└── BrokerError      free the port or install what is missing
"""


class HubError(Exception):
    """Base of all the hub raises: a cause in one line, and its cure. `retry`: the same call may succeed later."""

    retry = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(HubError):
    """A file, folder or option that cannot be used as it is."""


class StorageError(HubError):
    """The database or the object store does not answer as it should."""

    retry = True


class ValueRefused(HubError):
    """A value that the database cannot hold, as text with a NUL byte."""


class EnrolmentError(HubError):
    """A certificate request that is refused."""


class CatalogueError(HubError):
    """A bundle that is refused or not known."""


class TrustError(HubError):
    """A key, a signature or signed metadata that is not as it must be."""


class RolloutError(HubError):
    """A rollout that cannot be made as asked, is not known, or cannot do what is asked of it any more."""


class HubAway(HubError):
    """The hub that a publisher speaks to does not answer, or not as a hub."""

    retry = True


class FactoryError(HubError):
    """A model that cannot be made as its recipe says."""


class LeftOut(FactoryError):
    """What a recipe is made of is published by others, and cannot be had on this machine now."""


class BrokerError(HubError):
    """The broker does not run."""

    retry = True
