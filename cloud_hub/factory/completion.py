"""A drafted manifest, its models and what a recipe found of them come in; the whole bundle goes out, with its card."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cloud_hub.factory.bundle_writer import write_bundle
from cloud_hub.factory.card import complete_card
from cloud_hub.factory.evaluate import Figure
from cloud_hub.factory.run import Run
from edge_protocol.bundle import Golden, Manifest
from edge_protocol.counters import Reference


@dataclass(frozen=True, slots=True)
class Findings:
    """Golden samples with the `files` they name, the drift reference, figures, and digests of the data by its name."""

    goldens: Sequence[Golden]
    files: Mapping[str, bytes]
    reference: Reference
    measured: Mapping[str, Figure | float]
    data: Mapping[str, str]


def complete(run: Run, out: Path, draft: Manifest, models: Mapping[str, bytes], findings: Findings) -> Path:
    """Write the bundle of the recipe that runs to its folder in `out`; the folder."""
    run.step("bundle")
    card = complete_card((run.recipe.parent / "card.toml").read_text(), findings.data, findings.measured)
    files = {
        **findings.files,
        **{f"{name}.onnx": model for name, model in models.items()},
        "reference.json": findings.reference.canonical(),
        "card.toml": card.encode(),
    }
    manifest = msgspec.structs.replace(
        draft,
        reference="reference.json",
        card="card.toml",
        goldens=tuple(findings.goldens),
        lineage={**draft.lineage, **{f"data {name}": digest for name, digest in findings.data.items()}},
    )
    folder = out / draft.name
    write_bundle(folder, manifest, files)
    run.note(f"{folder}, {sum(map(len, files.values())) / 1e3:,.0f} kB")
    return folder
