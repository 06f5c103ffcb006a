"""Which replica of the hub works for which shard: leases in the database, renewed while it lives, taken over after.

A lease spreads work and keeps answers single; it guards nothing. Two replicas that both believe to hold a shard still
write each row once, for rows and cursor are one transaction.
"""

from sqlalchemy import bindparam, or_, select, update

from cloud_hub.clock import Clock
from cloud_hub.storage.database import Database, insert
from cloud_hub.storage.schema import leases
from edge_protocol import topics


class Leases:
    """The shards of one replica. `step` now and then, several times within `ttl_s`."""

    def __init__(
        self, database: Database, replica: str, clock: Clock, *, ttl_s: float = 15.0, tenant: str = "default"
    ) -> None:
        self._database = database
        self._replica = replica
        self._clock = clock
        self._ttl_us = round(ttl_s * 1_000_000)
        self._tenant = tenant
        self._held: frozenset[str] = frozenset()
        self._until_us = 0

    def step(self) -> frozenset[str]:
        """Renew what is held, take what nobody holds any more; answers with what is held now.

        Raises:
            StorageError: the database does not answer; what was held runs out by itself.
        """
        now_us = self._clock.wall_us()
        until_us = now_us + self._ttl_us
        with self._database.writing() as connection:
            mine = update(leases).where(leases.c.replica == self._replica).values(expires_us=until_us)
            connection.execute(mine)
            wanted = {"replica": self._replica, "expires_us": until_us}
            claim = insert(connection, leases).values(shard=bindparam("shard"), tenant=self._tenant, **wanted)
            free = or_(leases.c.expires_us < now_us, leases.c.replica == self._replica)
            claim = claim.on_conflict_do_update(index_elements=["shard"], set_=wanted, where=free)
            connection.execute(claim, [{"shard": shard} for shard in topics.SHARDS])
            query = select(leases.c.shard).where(leases.c.replica == self._replica)
            held = frozenset(connection.execute(query).scalars())
        self._held, self._until_us = held, until_us
        return held

    def holds(self, shard: str) -> bool:
        """Whether this replica works for `shard` now."""
        return shard in self._held and self._clock.wall_us() < self._until_us

    def release(self) -> None:
        """Let another replica take over at once."""
        self._held = frozenset()
        with self._database.writing() as connection:
            connection.execute(update(leases).where(leases.c.replica == self._replica).values(expires_us=0))


def filters(held: frozenset[str]) -> tuple[str, ...]:
    """What to subscribe to for these shards: one filter for all of them, one for each of some."""
    if len(held) == len(topics.SHARDS):
        return (topics.ALL_UP,)
    return tuple(topics.up_filter(shard) for shard in sorted(held))
