"""Trust: signed metadata, publishers, what each release holds, and what each pipeline should run."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of trust; a release learns who has signed it."""
    op.create_table(
        "trust_files",
        sa.Column("repository", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("gateway", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("role", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tenant", sa.Text(), server_default="default", nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("repository", "gateway", "role", "version", name="pk_trust_files"),
    )
    op.create_index("ix_trust_files_role_expires_us", "trust_files", ["role", "expires_us"])
    op.create_table(
        "publishers",
        sa.Column("name", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("tenant", sa.Text(), server_default="default", nullable=False),
        sa.Column("key_id", sa.Text(), server_default="", nullable=False),
        sa.Column("pem", sa.Text(), server_default="", nullable=False),
        sa.Column("patterns", sa.JSON(), server_default="[]", nullable=False),
        sa.Column("delegated_us", sa.BigInteger(), nullable=False),
        sa.Column("revoked_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_publishers"),
    )
    op.create_table(
        "bundle_files",
        sa.Column("bundle", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("tenant", sa.Text(), server_default="default", nullable=False),
        sa.Column("sha256", sa.Text(), server_default="", nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bundle", "name", name="pk_bundle_files"),
    )
    op.create_index("ix_bundle_files_sha256", "bundle_files", ["sha256"])
    op.create_table(
        "assignments",
        sa.Column("gateway", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("pipeline", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("tenant", sa.Text(), server_default="default", nullable=False),
        sa.Column("digest", sa.Text(), server_default="", nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("version", sa.Text(), server_default="", nullable=False),
        sa.Column("rollout", sa.Text(), server_default="", nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("gateway", "pipeline", name="pk_assignments"),
    )
    for column in (
        sa.Column("publisher", sa.Text(), server_default="", nullable=False),
        sa.Column("floor", sa.Text(), server_default="", nullable=False),
        sa.Column("length", sa.BigInteger(), server_default="0", nullable=False),
    ):
        op.add_column("bundles", column)
