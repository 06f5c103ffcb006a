"""A built bundle comes in, the same model with another operating point goes out: a new version, and no new weights.

Gateways fetch files by digest, so such a release costs them a manifest.
"""

from pathlib import Path

from msgspec.structs import replace

from cloud_hub.errors import FactoryError
from cloud_hub.factory.bundle_writer import write_bundle
from edge_protocol import bundle
from edge_protocol.bundle import Expectation, Golden, Manifest, OperatingPoint
from edge_protocol.errors import ManifestError


def revise(manifest: Manifest, version: str, point: OperatingPoint) -> Manifest:
    """The manifest of `version`: what its goldens should come to is worked out again at `point`. Pure."""
    goldens = tuple(_at(golden, point) for golden in manifest.goldens)
    lineage = {**manifest.lineage, "revises": manifest.version}
    return replace(manifest, version=version, operating_point=point, goldens=goldens, lineage=lineage)


def write_revision(source: Path, folder: Path, manifest: Manifest, files: dict[str, bytes] | None = None) -> Manifest:
    """Write `manifest` with the files of the bundle in `source`, and with `files` in place of those of their names.

    Raises:
        FactoryError: `source` holds no bundle, or the manifest breaks a rule.
    """
    try:
        before, _ = bundle.load(source)
    except ManifestError as error:
        raise FactoryError(str(error), error.hint) from error
    kept = {name: (source / name).read_bytes() for name in before.files}
    return write_bundle(folder, manifest, kept | (files or {}))


def _at(golden: Golden, point: OperatingPoint) -> Golden:
    return replace(golden, expect={name: _expect(each, point) for name, each in golden.expect.items()})


def _expect(expected: Expectation, point: OperatingPoint) -> Expectation:
    score = expected.score
    verdict = "OK" if score < point.accept else "NG" if score >= point.reject else "REVIEW"
    margin = min(abs(score - point.accept), abs(score - point.reject))
    return replace(expected, verdict=verdict, margin=margin)
