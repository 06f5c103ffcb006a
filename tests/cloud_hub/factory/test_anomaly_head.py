import numpy as np
import onnx
import pytest

from cloud_hub.factory import anomaly_head, efficientnet
from cloud_hub.factory.anomaly_head import CHANNELS, SIDE, TOP, Head, align, fit_head, make_head, make_patches
from cloud_hub.factory.coreset import greedy_k_center
from cloud_hub.factory.graph import join
from cloud_hub.factory.weights import read_weights
from edge_agent.inference.engine import Engine

RNG = np.random.default_rng(11)
PATCHES = SIDE * SIDE


def patches_like(mean: np.ndarray, tiles: int) -> np.ndarray:
    """Tiles of patches around a few means."""
    kinds = RNG.integers(len(mean), size=(tiles, PATCHES))
    return (mean[kinds] + 0.3 * RNG.normal(size=(tiles, PATCHES, CHANNELS))).astype(np.float32)


def overlapping(tiles: int) -> np.ndarray:
    """Tiles cut from one place: all of them show the same fifty patches."""
    place = patches_like(MEANS, 1)[0][:50]
    shown = place[RNG.integers(50, size=(tiles, PATCHES))]
    return (shown + 0.01 * RNG.normal(size=shown.shape)).astype(np.float32)


MEANS = RNG.normal(size=(4, CHANNELS)).astype(np.float32) * 2
FOLDS = [patches_like(MEANS, 5), patches_like(MEANS, 5)]


@pytest.fixture(scope="module")
def fitted() -> tuple[Head, np.ndarray]:
    """A small head and its held-aside scores."""
    return fit_head(FOLDS, 60, np.random.default_rng(1))


def maps(seed: int) -> dict[str, np.ndarray]:
    """Random maps as a backbone would give them."""
    rng = np.random.default_rng(seed)
    return {
        "feat16": rng.normal(size=(1, 112, 14, 14)).astype(np.float32),
        "feat32": rng.normal(size=(1, 320, 7, 7)).astype(np.float32),
    }


def by_hand(head: Head, patches: np.ndarray) -> tuple[np.ndarray, float]:
    """Map and score of one tile by the definition."""
    points = patches.astype(np.float64) @ head.weight + head.bias
    distances = np.linalg.norm(points[:, None] - head.prototypes[None], axis=2) / head.scales
    nearest = distances.min(axis=1)
    return nearest.reshape(SIDE, SIDE), float(np.sort(nearest)[-TOP:].mean())


def test_the_graph_computes_the_definition(fitted: tuple[Head, np.ndarray]) -> None:
    """Map and score of the graph are scaled distances to the nearest prototype, and the mean of the five largest."""
    head, _scores = fitted
    inputs = maps(2)
    patches = Engine(make_patches()).run(inputs)["patches"]

    outputs = Engine(make_head(head)).run(inputs)

    expected_map, expected_score = by_hand(head, patches)
    assert np.allclose(outputs["map"][0], expected_map, rtol=1e-3)
    assert outputs["score"][0] == pytest.approx(expected_score, rel=1e-3)


def test_patches_are_both_maps_at_one_size() -> None:
    """The fine map passes as it is; the coarse one is interpolated, its corners staying what they were."""
    inputs = maps(3)

    patches = Engine(make_patches()).run(inputs)["patches"].reshape(SIDE, SIDE, CHANNELS)

    assert np.array_equal(patches[..., :112], inputs["feat16"][0].transpose(1, 2, 0))
    assert np.allclose(patches[0, 0, 112:], inputs["feat32"][0, :, 0, 0], atol=1e-6)
    assert np.allclose(patches[-1, -1, 112:], inputs["feat32"][0, :, -1, -1], atol=1e-6)


def test_held_aside_scores_are_those_of_new_tiles(fitted: tuple[Head, np.ndarray]) -> None:
    """Tiles that were not taught score like the held-aside scores say, which is what makes them fit for a threshold."""
    head, held_aside = fitted
    fresh = [by_hand(head, tile)[1] for tile in patches_like(MEANS, 10)]

    assert len(held_aside) == 10
    assert np.median(fresh) == pytest.approx(np.median(held_aside), rel=0.1)


def test_held_aside_scores_are_not_flattered_by_overlap() -> None:
    """Where the tiles of a fold repeat each other, as crops of one photograph do, new ones still score alike."""
    head, held_aside = fit_head([overlapping(5), overlapping(5)], 160, np.random.default_rng(1))
    fresh = [by_hand(head, tile)[1] for tile in overlapping(10)]

    assert np.median(fresh) < 1.25 * np.median(held_aside)


def test_what_is_unlike_all_good_patches_stands_out(fitted: tuple[Head, np.ndarray]) -> None:
    """A tile with a foreign spot scores above every held-aside tile, and the map says where."""
    head, held_aside = fitted
    tile = patches_like(MEANS, 1)[0]
    tile[:6] += 3 * RNG.normal(size=CHANNELS).astype(np.float32)

    heat, score = by_hand(head, tile)

    assert score > held_aside.max()
    assert set(np.argsort(heat.ravel())[-6:]) == set(range(6))


def test_alignment_undoes_what_another_arithmetic_does(fitted: tuple[Head, np.ndarray]) -> None:
    """Features that are scaled, shifted and noisy give, aligned, nearly the scores of the exact ones."""
    head, _scores = fitted
    exact = np.concatenate(FOLDS)
    rounded = (exact * 0.8 + 0.5 + 0.1 * RNG.normal(size=exact.shape)).astype(np.float32)
    aligned = align(head, exact, rounded)

    tiles = patches_like(MEANS, 6)
    noisy = tiles * 0.8 + 0.5 + 0.1 * RNG.normal(size=tiles.shape)
    scores = np.array([by_hand(head, tile)[1] for tile in tiles])
    misread = np.array([by_hand(head, tile)[1] for tile in noisy])
    corrected = np.array([by_hand(aligned, tile)[1] for tile in noisy])

    assert np.abs(corrected - scores).max() < 0.1 * scores.mean()
    assert np.abs(misread - scores).max() > 2 * np.abs(corrected - scores).max()


def test_fitting_is_deterministic() -> None:
    """The same patches and seed give the same head, to the bit."""
    first, second = (fit_head(FOLDS, 20, np.random.default_rng(5)) for _ in range(2))

    assert make_head(first[0]) == make_head(second[0])
    assert np.array_equal(first[1], second[1])


def test_a_few_points_cover_all() -> None:
    """With as many centres as there are clusters, each cluster has one."""
    clusters = np.arange(8).repeat(20)
    points = (clusters[:, None] * 10 + RNG.normal(size=(160, 3))).astype(np.float32)

    chosen = greedy_k_center(points, 8, np.random.default_rng(1))

    assert set(clusters[chosen]) == set(range(8))


def test_there_are_never_more_centres_than_points() -> None:
    """A small set is taken whole."""
    assert sorted(greedy_k_center(np.eye(3, dtype=np.float32), 10, np.random.default_rng(1))) == [0, 1, 2]


def test_backbone_and_head_join_to_one_model(fitted: tuple[Head, np.ndarray]) -> None:
    """The joined model gives what the two give one after the other."""
    backbone = efficientnet.make_backbone(read_weights(efficientnet.weights_file()))
    image = {"image": RNG.normal(size=(1, 3, 224, 224)).astype(np.float32)}
    features = Engine(backbone).run(image)

    joined = Engine(join(backbone, make_head(fitted[0]))).run(image)

    assert features["feat16"].shape == (1, 112, 14, 14)
    assert features["feat32"].shape == (1, 320, 7, 7)
    assert np.allclose(joined["map"], Engine(make_head(fitted[0])).run(features)["map"], atol=1e-4)
    assert set(joined) == {"map", "score"}


def test_the_heads_nodes_can_be_told_apart(fitted: tuple[Head, np.ndarray]) -> None:
    """All nodes of a head begin with head_, so that measurements can leave it out."""
    nodes = onnx.load_from_string(make_head(fitted[0])).graph.node

    assert nodes
    assert all(node.name.startswith("head_") for node in nodes)
    assert anomaly_head.SIDE == 14
