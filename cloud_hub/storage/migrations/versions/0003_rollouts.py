"""Rollouts: what was asked for, where each member stands, and everything that was decided."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables of rollouts, and an index that finds the batches of a gateway since one of them."""
    op.create_table(
        "rollouts",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("tenant", sa.Text(), server_default="default", nullable=False),
        *_texts("bundle", "version", "digest", "state", "cause"),
        sa.Column("wave", sa.Integer(), server_default="0", nullable=False),
        *_texts("reason", "actor", "purpose"),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.Column("joined_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("plan", sa.JSON(), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rollouts"),
    )
    op.create_table(
        "rollout_members",
        sa.Column("rollout_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("gateway", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("pipeline", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("tenant", sa.Text(), server_default="default", nullable=False),
        sa.Column("wave", sa.Integer(), server_default="0", nullable=False),
        *_texts("state", "reason"),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("assigned_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("since", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.Column("measured", sa.JSON(), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("rollout_id", "gateway", "pipeline", name="pk_rollout_members"),
    )
    op.create_index("ix_rollout_members_gateway_pipeline", "rollout_members", ["gateway", "pipeline"])
    op.create_table(
        "rollout_decisions",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("tenant", sa.Text(), server_default="default", nullable=False),
        sa.Column("rollout_id", sa.BigInteger(), nullable=False),
        *_texts("gateway", "pipeline"),
        sa.Column("wave", sa.Integer(), server_default="0", nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        *_texts("actor", "text"),
        sa.Column("detail", sa.JSON(), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rollout_decisions"),
    )
    op.create_index("ix_rollout_decisions_rollout_id_id", "rollout_decisions", ["rollout_id", "id"])
    op.create_index("ix_batches_gateway_stream_id", "batches", ["gateway", "stream", "id"])


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), server_default="", nullable=False) for name in names]
