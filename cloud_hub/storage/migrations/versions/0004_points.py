"""Operating points that take the place of a bundle's own: what publishers have signed, and who should judge by it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "operating_points",
        sa.Column("sha256", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("tenant", sa.Text(), server_default="default", nullable=False),
        *_texts("bundle", "digest", "name", "version", "publisher", "actor"),
        sa.Column("length", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("added_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_operating_points"),
        sa.UniqueConstraint(
            "tenant", "bundle", "name", "version", name="uq_operating_points_tenant_bundle_name_version"
        ),
    )
    op.create_table(
        "point_assignments",
        sa.Column("gateway", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("pipeline", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("tenant", sa.Text(), server_default="default", nullable=False),
        *_texts("sha256"),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("gateway", "pipeline", name="pk_point_assignments"),
    )


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), server_default="", nullable=False) for name in names]
