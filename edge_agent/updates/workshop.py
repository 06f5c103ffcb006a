"""What all pipelines of a gateway share on the way of a release: objects, slots, the one self-test, the one load.

Checks what a release asks for before its files are fetched. Never touches a running model.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path

from edge_agent import durable, settings
from edge_agent.clock import Clock
from edge_agent.errors import InferenceError
from edge_agent.inference.cache import Cache
from edge_agent.inference.hardware import architecture, cpu_flags
from edge_agent.inference.model import Model
from edge_agent.inference.variants import candidates, choose_variant
from edge_agent.updates.download import Download
from edge_agent.updates.loading import Loading
from edge_agent.updates.objects import Objects
from edge_agent.updates.proof import TUNE_S, Proof, Report
from edge_agent.updates.slots import Slots
from edge_protocol import bundle
from edge_protocol.agreement import Wanted
from edge_protocol.bundle import FEATURES, MANIFEST, MAX_MANIFEST_BYTES, Manifest
from edge_protocol.errors import ManifestError
from edge_protocol.messages import Want
from edge_protocol.updates import Refusal, UpdateRefused

log = logging.getLogger(__name__)


class Workshop:
    """Made from the gateway's data folder. Belongs to one thread."""

    def __init__(
        self,
        data_dir: Path,
        limits: settings.Updates,
        send: Callable[[Want], bool],
        clock: Clock,
        *,
        cache: Cache | None = None,
        record: durable.Recorder | None = None,
    ) -> None:
        """`cache` is what the gateway keeps of its models, `record` is told each durable step.

        Raises:
            OSError: the folders cannot be made.
        """
        self.objects = Objects(data_dir / "objects", record=record)
        self.slots = Slots(data_dir / "slots", self.objects, record=record)
        self.download = Download(self.objects, send, clock)
        self.cache = cache or Cache(data_dir / "cache", {})
        self._placed = data_dir / "bundles"
        self._limits = limits
        self._user = ""
        self._work: Proof | Loading | None = None
        self._needs: dict[str, dict[str, int]] = {}

    def ask_manifest(self, pipeline: str, wanted: Wanted) -> None:
        """Fetch the manifest.

        Raises:
            UpdateRefused: TOO_LARGE.
        """
        if wanted.length > MAX_MANIFEST_BYTES:
            detail = f"a manifest of {wanted.length} bytes, at most {MAX_MANIFEST_BYTES} are taken"
            raise UpdateRefused(Refusal.TOO_LARGE, detail)
        self._ask(pipeline, {wanted.digest: wanted.length})

    def ask_files(self, pipeline: str, wanted: Wanted, variant: str, task: str) -> None:
        """Check the manifest, which is here, and fetch what this gateway needs of the release. `task` is what runs now.

        Raises:
            UpdateRefused: INCOMPATIBLE, TOO_LARGE, OUT_OF_SPACE.
        """
        manifest = self._checked(wanted)
        if manifest.task != task:
            detail = f"it does {manifest.task}, the pipeline looks at what is for {task}"
            raise UpdateRefused(Refusal.INCOMPATIBLE, detail)
        needed = {manifest.files[name].sha256: manifest.files[name].length for name in _needed(manifest, variant)}
        size, limit = sum(needed.values()), self._limits.max_mb * 2**20
        if size > limit:
            detail = f"it takes {size / 2**20:.0f} MB, [updates] max_mb is {self._limits.max_mb}"
            raise UpdateRefused(Refusal.TOO_LARGE, detail)
        for sha256 in needed:
            self.objects.check(sha256)
        self._adopt(needed)
        needs = {wanted.digest: wanted.length, **needed}
        others = {sha256: length for each in self._needs.values() for sha256, length in each.items()}
        self.objects.reserve(others | needs)
        self._ask(pipeline, needs)

    def has_all(self, pipeline: str) -> bool:
        """Whether what was asked for is there.

        Raises:
            UpdateRefused: it cannot be had.
        """
        needs = self._needs.get(pipeline)
        if needs is None:
            return False
        problem = self.download.problem(needs)
        if problem is not None:
            raise UpdateRefused(problem.refusal, problem.detail)
        return all(map(self.objects.has, needs))

    def stage(self, wanted: Wanted, variant: str) -> None:
        """Make the slot of a release whose files are here.

        Raises:
            UpdateRefused: OUT_OF_SPACE.
        """
        raw = self.objects.read(wanted.digest)
        self._make_slot(raw, _needed(bundle.parse(raw), variant))

    def keep_placed(self, folder: Path, model: Model) -> bool:
        """Make a slot of the bundle that runs from a placed folder, to be able to return to it; whether there is one.

        Raises:
            UpdateRefused: OUT_OF_SPACE.
        """
        names = _needed(model.manifest, model.variant)
        try:
            raw = (folder / MANIFEST).read_bytes()
        except OSError:
            return False
        files = [(folder / name, model.manifest.files[name]) for name in names]
        if not all(self.objects.adopt(path, file.sha256, file.length) for path, file in files):
            return False
        if bundle.digest(raw) != model.digest:
            return False
        self._make_slot(raw, names)
        return True

    def start_proof(self, pipeline: str, wanted: Wanted, variant: str) -> Proof | None:
        """Start the self-test, or None: another one is at work."""
        manifest = self.slots.manifest(wanted.digest)
        if self._work is not None or manifest is None:
            return None
        is_planned = self.cache.plans.get(wanted.digest) is not None
        proof = Proof(
            self.slots.path(wanted.digest),
            manifest,
            variant=variant,
            cache=self.cache.folder,
            deadline_s=self._limits.self_test_s,
            tune_s=0.0 if is_planned else TUNE_S,
        )
        self._work, self._user = proof, pipeline
        return proof

    def keep_found(self, wanted: Wanted, report: Report) -> None:
        """What a self-test has made and measured is for the load, and for every start from now on."""
        if report.audit:
            log.warning("%s %s, %s: %s", wanted.bundle, wanted.version, report.variant, report.audit)
        self.cache.adopt(report.optimised)
        if report.plan is not None:
            self.cache.plans[wanted.digest] = report.plan

    def next_variant(self, wanted: Wanted, failed: str) -> str:
        """The variant of a release to try after the one that failed; empty when there is none."""
        manifest = self.slots.manifest(wanted.digest)
        if manifest is None:
            return ""
        names = [each.name for each in candidates(manifest, cpu_flags(), architecture())]
        return next(iter(names[names.index(failed) + 1 :]), "") if failed in names else ""

    def start_load(self, pipeline: str, digest: str, variant: str) -> Loading | None:
        """Start to load a slot, or None: something else is at work."""
        if self._work is not None:
            return None
        self._work, self._user = Loading(self.slots.path(digest), variant=variant, cache=self.cache), pipeline
        return self._work

    def finish(self, pipeline: str) -> None:
        """What is at work for `pipeline` is done, or of no use any more. A load ends by itself, its model goes."""
        if self._user == pipeline and self._work is not None:
            if isinstance(self._work, Proof):
                self._work.kill()
            self._work, self._user = None, ""

    def drop(self, pipeline: str) -> None:
        """Nothing is to be fetched or done for `pipeline` any more."""
        self.finish(pipeline)
        mine = self._needs.pop(pipeline, {})
        self.download.drop(set(mine).difference(*self._needs.values()))
        self.objects.release()

    def collect(self, digests: Collection[str], objects: Collection[str]) -> None:
        """Delete every slot and object but for these and what they are made of."""
        wanted = {sha256 for needs in self._needs.values() for sha256 in needs} | set(objects)
        with suppress(OSError):  # A disk that is at fault is told by the recorder; what is left is found next time.
            self.objects.collect(self.slots.collect(digests) | wanted)

    def _ask(self, pipeline: str, needs: Mapping[str, int]) -> None:
        self._needs[pipeline] = dict(needs)
        self.download.ask(needs)

    def _checked(self, wanted: Wanted) -> Manifest:
        try:
            manifest = bundle.parse(self.objects.read(wanted.digest))
        except ManifestError as error:
            raise UpdateRefused(Refusal.INCOMPATIBLE, str(error)) from error
        if (manifest.name, manifest.version) != (wanted.bundle, wanted.version):
            detail = f"its manifest says {manifest.name} {manifest.version}"
            raise UpdateRefused(Refusal.INCOMPATIBLE, detail)
        if reason := bundle.why_not(manifest, FEATURES, architecture(), cpu_flags()):
            raise UpdateRefused(Refusal.INCOMPATIBLE, reason)
        return manifest

    def _adopt(self, needed: Mapping[str, int]) -> None:
        """Files that a placed bundle has too need not come over the network."""
        for path in self._placed.glob(f"*/{MANIFEST}"):
            with suppress(OSError, ManifestError):
                names = {file.sha256: name for name, file in bundle.parse(path.read_bytes()).files.items()}
                for sha256 in names.keys() & needed.keys():
                    self.objects.adopt(path.parent / names[sha256], sha256, needed[sha256])

    def _make_slot(self, raw: bytes, names: Collection[str]) -> None:
        try:
            self.slots.make(raw, names)
        except OSError as error:
            raise UpdateRefused(Refusal.OUT_OF_SPACE, f"its slot cannot be made: {error.strerror}") from error


def _needed(manifest: Manifest, variant: str) -> tuple[str, ...]:
    try:
        chosen = variant or choose_variant(manifest, cpu_flags(), architecture()).name
        return bundle.needed(manifest, chosen)
    except (InferenceError, ManifestError) as error:
        raise UpdateRefused(Refusal.INCOMPATIBLE, str(error)) from error
