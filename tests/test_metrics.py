"""Metrics where the answer is known: in closed form, or by brute force."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgan.data import Modes, load
from fastgan.metrics import (
    Neighbourhood,
    axis_differences,
    distances,
    exact,
    frechet_distance,
    gaussian_frechet_distance,
    jensen_shannon,
    mean_distance,
    mode_coverage,
    neighbourhood,
    parzen_log_likelihood,
    parzen_window,
    relative_diversity,
    reverse_kl,
)

MODES = Modes(torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]]), sigma=1.0)


def test_counts_within_three_sigma_of_the_nearest_mode() -> None:
    samples = torch.tensor([[0.0, 2.99], [2.0, 2.0], [10.0, 3.01], [3.0, 4.0], [9.0, 0.0]])
    coverage = mode_coverage(samples, MODES)
    assert coverage.counts == (2, 1, 0)
    assert (coverage.modes, coverage.covered) == (3, 2)
    assert coverage.high_quality == pytest.approx(3 / 5)


def test_nothing_covered() -> None:
    coverage = mode_coverage(torch.full((4, 2), 100.0), MODES)
    assert (coverage.covered, coverage.high_quality) == (0, 0.0)


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_real_samples_cover_every_mode(name: str) -> None:
    data = load(name)
    assert data.modes is not None
    coverage = mode_coverage(data.transform.inverse(data.samples), data.modes)
    assert coverage.covered == coverage.modes
    assert coverage.high_quality == pytest.approx(1 - math.exp(-4.5), abs=0.002)


@pytest.mark.parametrize("place", [0.0, 1000.0, 1e5])
def test_modes_are_found_wherever_they_lie(place: float) -> None:
    # exact multiples of 2**-7, which float32 holds at all these places
    noise = (torch.randn(20_000, 2) * 2).round() / 128
    centers = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    samples = noise + centers[torch.arange(20_000) % 2]
    expected = mode_coverage(samples, Modes(centers, 2 / 128))
    assert expected.high_quality == pytest.approx(0.988, abs=0.004)
    found = mode_coverage(samples + place, Modes(centers + place, 2 / 128))
    assert found == expected
    for row in (0, 1):
        right = ((noise[row::2] * 128).double().square().sum(1) <= 36).sum()
        assert found.counts[row] == right


@pytest.mark.parametrize("shape", [(0, 2), (4, 3), (4,)])
def test_bad_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        mode_coverage(torch.zeros(shape), MODES)


def test_samples_that_are_not_finite_are_not_counted_as_bad_ones() -> None:
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="samples holds nan or infinite values, expected finite"):
            mode_coverage(torch.tensor([[0.0, 0.0], [value, 0.0]]), MODES)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float16, torch.float64])
def test_samples_of_any_dtype_are_counted(dtype: torch.dtype) -> None:
    assert mode_coverage(torch.tensor([[0, 1], [9, 0], [5, 5]], dtype=dtype), MODES).counts == (1, 1, 0)


def test_divergences_of_histograms() -> None:
    assert reverse_kl([5, 5, 5, 5]) == jensen_shannon([5, 5, 5, 5]) == 0
    assert reverse_kl([7, 7, 0, 0]) == pytest.approx(math.log(2))
    assert reverse_kl([0] * 24 + [1]) == pytest.approx(math.log(25))
    # against p/2 + q/2: (3/4, 1/4) of the data's (1/2, 1/2) and (1, 0)
    expected = (math.log(4 / 3) + math.log((1 / 2) / (3 / 4)) / 2 + math.log((1 / 2) / (1 / 4)) / 2) / 2
    assert jensen_shannon([3, 0]) == pytest.approx(expected)
    skewed = torch.tensor([1.0, 3.0])
    assert reverse_kl([25, 75], skewed) == pytest.approx(0)
    assert reverse_kl([25, 75], [1, 3]) == reverse_kl([25, 75], skewed)
    assert reverse_kl([1, 1], skewed) == pytest.approx(math.log(2) / 2 + math.log(2 / 3) / 2)
    disjoint = torch.tensor([0.0, 1.0])
    assert reverse_kl([1, 0], disjoint) == math.inf
    assert jensen_shannon([1, 0], disjoint) == pytest.approx(math.log(2))
    assert math.isnan(reverse_kl([0, 0, 0]))


@pytest.mark.parametrize("reference", [torch.ones(3), torch.zeros(2), torch.tensor([2.0, -1.0])])
def test_histograms_that_do_not_fit(reference: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="reference"):
        reverse_kl([1, 2], reference)


@pytest.mark.parametrize(
    ("counts", "reference", "said"),
    [
        ([1, -1], None, r"counts\[1\] is -1, expected finite and at least 0"),
        ([1, math.nan], None, r"counts\[1\] is nan"),
        ([math.inf, 1], None, r"counts\[0\] is inf"),
        ([1, 2], [1, math.nan], r"reference\[1\] is nan"),
        ([1, 2], [-0.5, 1], r"reference\[0\] is -0.5"),
        ([1, 2], [0, 0], "reference is 0 everywhere, expected a mode that the data visit"),
        ([], None, r"counts have shape \[0\] .*expected \[K\] each with K at least 1"),
    ],
)
def test_numbers_that_make_no_histogram(counts: list[int], reference: list[float] | None, said: str) -> None:
    for divergence in (reverse_kl, jensen_shannon):
        with pytest.raises(ValueError, match=said):
            divergence(counts, reference)


def clouds(*sizes: int, features: int = 3) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(size, features, generator=rng) for size in sizes]


@pytest.fixture(params=[2**20, 200], ids=["one chunk", "chunks"])
def _chunked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "_ELEMENTS", request.param)
    monkeypatch.setattr(exact, "_ELEMENTS", request.param)


def by_brute_force(real: torch.Tensor, fake: torch.Tensor, k: int) -> Neighbourhood:
    """In whole multiples of a unit that every coordinate has: floats are fractions."""
    exact_reals, exact_fakes = (
        [[Fraction(x) for x in row] for row in t.double().tolist()] for t in (real, fake)
    )
    unit = math.lcm(*{x.denominator for row in (*exact_reals, *exact_fakes) for x in row})
    reals, fakes = ([[int(x * unit) for x in row] for row in rows] for rows in (exact_reals, exact_fakes))

    def squared(a: list[int], b: list[int]) -> int:
        return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))

    real_radii, fake_radii = ([sorted(squared(a, b) for b in s)[k] for a in s] for s in (reals, fakes))
    pairs = [[squared(r, f) for f in fakes] for r in reals]
    within = [[d < radius for d in row] for row, radius in zip(pairs, real_radii, strict=True)]
    recalled = [any(d < radius for d, radius in zip(row, fake_radii, strict=True)) for row in pairs]
    return Neighbourhood(
        precision=sum(map(any, zip(*within, strict=True))) / len(fakes),
        recall=sum(recalled) / len(reals),
        density=sum(map(sum, within)) / (k * len(fakes)),
        coverage=sum(map(any, within)) / len(reals),
    )


@pytest.mark.usefixtures("_chunked")
def test_neighbourhood_by_brute_force() -> None:
    real, fake = clouds(60, 45)
    found = neighbourhood(real, 0.7 * fake + 0.5, 3)
    assert 0 < found.recall < found.precision < 1
    assert found == by_brute_force(real, 0.7 * fake + 0.5, 3)


def lattice(*sizes: int, features: int, levels: int) -> list[torch.Tensor]:
    """Points with whole coordinates, of which many lie at equal distances and some on each other."""
    rng = torch.Generator().manual_seed(features)
    return [torch.randint(levels, (size, features), generator=rng).double() for size in sizes]


@pytest.mark.usefixtures("_chunked")
@pytest.mark.filterwarnings("ignore:.*exact copies:UserWarning")
@pytest.mark.parametrize(
    "moved",
    [
        lambda points: points,
        lambda points: points.long(),
        lambda points: points + 1e6,
        lambda points: points * 1e200,
        lambda points: points * 1e-200,
        lambda points: points / 10,  # in no base of two a whole number of tenths
        lambda points: ((points - 0.1307) / 0.3081).float(),  # as binarized MNIST is normalized
        lambda points: points + 1e9 * (torch.arange(len(points)) % 2).unsqueeze(1),  # two clusters far apart
    ],
    ids=["whole", "int64", "shifted", "large", "small", "tenths", "normalized", "two clusters"],
)
def test_ties_are_ties(moved: Callable[[torch.Tensor], torch.Tensor]) -> None:
    for features, levels, k in ((1, 9, 2), (3, 3, 3), (10, 2, 1), (9, 3, 5)):
        real, fake = map(moved, lattice(40, 30, features=features, levels=levels))
        assert neighbourhood(real, fake, k) == by_brute_force(real, fake, k)


@pytest.mark.filterwarnings("ignore:.*exact copies:UserWarning")
def test_neighbourhood_does_not_depend_on_place_scale_or_order() -> None:
    real, fake = lattice(400, 300, features=64, levels=2)
    expected = neighbourhood(real, fake)
    assert 0 < expected.coverage < 1
    rows, columns = torch.randperm(400), torch.randperm(64)
    assert neighbourhood(real[rows], fake[torch.randperm(300)]) == expected
    for points in (
        (real[:, columns], fake[:, columns]),
        (real + 1000, fake + 1000),
        (real * 0.1, fake * 0.1),
    ):
        assert neighbourhood(*points) == expected
    for mean, deviation in ((0.1307, 0.3081), (0.5, 0.5), (1000.0, 0.1)):
        normalized = (((points - mean) / deviation).float() for points in (real, fake))
        assert neighbourhood(*(points[:, columns] for points in normalized)) == expected


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_neighbourhood_of_any_floats_is_that_of_brute_force(data: st.DataObject) -> None:
    features, k = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    # few values, so that ties and copies come
    values = st.sampled_from(data.draw(st.lists(st.floats(-1e9, 1e9, width=32), min_size=1, max_size=4)))
    row = st.lists(values, min_size=features, max_size=features)
    real, fake = (torch.tensor(data.draw(st.lists(row, min_size=k + 1, max_size=9))) for _ in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert neighbourhood(real, fake, k) == by_brute_force(real, fake, k)


def bits(rows: int, columns: int, seed: int) -> torch.Tensor:
    """Zeros and ones of a generator that is the same in every library."""
    values = []
    for _ in range(rows * columns):
        seed = (1_103_515_245 * seed + 12_345) % 2**31
        values.append(seed >> 16 & 1)
    return torch.tensor(values).view(rows, columns)


@pytest.mark.filterwarnings("ignore:.*exact copies:UserWarning")
@pytest.mark.parametrize(
    ("shapes", "k", "expected"),
    [
        (((500, 10), (400, 10)), 3, Neighbourhood(0.6925, 0.69, 0.35833333333333334, 0.38)),
        (((500, 10), (400, 10)), 5, Neighbourhood(0.935, 0.894, 0.4875, 0.562)),
        (((300, 30), (200, 30)), 5, Neighbourhood(0.97, 0.98, 0.643, 0.7933333333333333)),
    ],
)
def test_neighbourhood_of_binary_features_is_that_of_prdc(
    shapes: tuple[tuple[int, int], tuple[int, int]], k: int, expected: Neighbourhood
) -> None:
    # by compute_prdc of the package prdc 0.2, with scikit-learn 1.9.1
    real, fake = (bits(*shape, seed) for seed, shape in enumerate(shapes, start=1))
    assert neighbourhood(real, fake, k) == expected


def test_rows_with_k_copies_are_counted_and_hold_nothing() -> None:
    (real,) = clouds(50)
    real[1:4] = real[0]  # 3 copies of a row
    with pytest.warns(UserWarning, match=r"^4 of 50 real samples have 3 exact copies or more.* raise k$"):
        found = neighbourhood(real, real, 3)
    assert found == by_brute_force(real, real, 3)
    assert found.coverage == 46 / 50
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert neighbourhood(real, real, 4).coverage == 1
        assert neighbourhood(real, real[:1].expand(50, 3), 4).recall == 0  # collapsed: that is no mistake


def test_neighbourhood_of_identical_disjoint_and_alike_sets() -> None:
    real, fake = clouds(2_000, 2_000)
    assert neighbourhood(real, real) == Neighbourhood(1, 1, 1, 1)
    assert neighbourhood(real, fake + 100) == Neighbourhood(0, 0, 0, 0)
    alike = neighbourhood(real, fake)
    assert alike.density == pytest.approx(1, abs=0.03)
    assert alike.coverage == pytest.approx(1 - 2**-5, abs=0.01)
    collapsed = neighbourhood(real, real[:1].expand(2_000, 3))
    assert (collapsed.precision, collapsed.recall) == (1, 0)
    assert collapsed.coverage < 0.01


def test_frechet_distance_in_closed_form() -> None:
    # diagonal: the sum of (a - b)² over means, and over standard deviations
    one, two = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([1.5, 0.0, 4.0])
    mean, mean2 = torch.zeros(3), torch.tensor([1.0, 0.0, -2.0])
    found = gaussian_frechet_distance(mean, one.square().diag(), mean2, two.square().diag())
    assert found == pytest.approx(5 + 0.25 + 4 + 16)
    # in general: the eigenvalues of the product, by a method that needs full rank
    a, b = clouds(20, 20, features=8)
    covariances = [t.T.double() @ t.double() for t in (a, b)]
    shared = torch.linalg.eigvals(covariances[0] @ covariances[1]).real.sqrt().sum()
    expected = covariances[0].trace() + covariances[1].trace() - 2 * shared
    zero = torch.zeros(8)
    found = gaussian_frechet_distance(zero, covariances[0], zero, covariances[1])
    assert found == pytest.approx(float(expected), rel=1e-10)


def test_frechet_distance_of_samples() -> None:
    (features,) = clouds(50, features=200)  # of rank 49: most eigenvalues are 0
    shift = torch.full((200,), 0.5)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(features, features + shift) == pytest.approx(50, rel=1e-6)
    assert frechet_distance(features, 3 * features) == pytest.approx(
        4 * float(features.mean(dim=0).square().sum() + features.var(dim=0).sum()), rel=1e-6
    )
    one, two = clouds(20_000, 20_000)
    assert frechet_distance(one, 2 * two + 1) == pytest.approx(3 + 3, rel=0.02)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (0, torch.zeros(2, 1), r"mean has shape \[2, 1\], expected \[2\]"),
        (1, torch.eye(3), r"covariance has shape \[3, 3\], expected \[2, 2\]"),
        (2, torch.zeros(3), r"mean2 has shape \[3\], expected \[2\]"),
        (3, torch.zeros(2), r"covariance2 has shape \[2\], expected \[2, 2\]"),
        (2, torch.tensor([0.0, math.nan]), "mean2 holds nan"),
        (1, torch.full((2, 2), math.inf), "covariance holds nan or infinite"),
        (1, -torch.eye(2), "covariance has an eigenvalue of -1, expected none below 0"),
        (3, torch.tensor([[1.0, 2.0], [2.0, 1.0]]), "covariance2 has an eigenvalue of -1"),
    ],
)
def test_moments_of_no_gaussian(place: int, value: torch.Tensor, said: str) -> None:
    moments = [torch.zeros(2), torch.eye(2), torch.zeros(2), torch.eye(2)]
    moments[place] = value
    with pytest.raises(ValueError, match=said):
        gaussian_frechet_distance(*moments)


@pytest.mark.parametrize("place", [0.0, 1e8])
def test_parzen_window_of_clusters_far_apart(place: float) -> None:
    # steps of 2**-20 between points that are 10**8 from their mean: float64 holds them, squares there do not
    rng = torch.Generator().manual_seed(0)
    steps, points = (torch.randint(-8, 9, (n, 3), generator=rng) / 2**20 for n in (40, 20))
    far = torch.tensor([-place, place], dtype=torch.float64).repeat(20).unsqueeze(1)
    found = parzen_log_likelihood(steps.double() + far, points.double() + place, [2e-6])[0]
    near = steps[1::2] if place else steps
    lost = math.log(len(steps) / len(near))
    assert found.tolist() == pytest.approx((parzen_log_likelihood(near, points, [2e-6])[0] - lost).tolist())


@pytest.mark.usefixtures("_chunked")
def test_parzen_window_against_a_direct_sum() -> None:
    fake, points = (t.double() for t in clouds(50, 30, features=2))
    for sigma in (0.3, 2.0):
        densities = [
            sum(math.exp(-(math.dist(x, s) ** 2) / (2 * sigma**2)) for s in fake.tolist())
            / (50 * 2 * math.pi * sigma**2)
            for x in points.tolist()
        ]
        found = parzen_log_likelihood(fake, points, [0.5, sigma])[1]
        torch.testing.assert_close(found.exp(), torch.tensor(densities, dtype=torch.float64))


def test_parzen_window_of_one_sample_is_its_gaussian_however_far() -> None:
    origin, far = torch.zeros(1, 784), torch.full((2, 784), 50.0)
    found = parzen_log_likelihood(origin, far, [0.1])
    expected = -(784 * 2500) / (2 * 0.01) - 392 * math.log(2 * math.pi * 0.01)
    assert found[0].tolist() == pytest.approx([expected, expected], rel=1e-12)


def test_parzen_window_chooses_sigma_on_validation_and_measures_on_test() -> None:
    fake, validation, test = (t.double() for t in clouds(4_000, 500, 2_500, features=1))
    found = parzen_window(fake, validation, test, [0.01, 0.3, 3.0])
    assert found.sigma == 0.3
    values = parzen_log_likelihood(fake, test, [0.3])[0]
    assert found.mean == pytest.approx(float(values.mean()))
    assert found.standard_error == pytest.approx(float(values.std()) / 50)
    # of a standard normal blurred by 0.3: minus its cross-entropy
    assert found.mean == pytest.approx(-0.5 * math.log(2 * math.pi * 1.09) - 1 / 2.18, abs=0.05)
    assert parzen_window(fake, validation, test, torch.tensor([0.01, 0.3, 3.0], dtype=torch.float64)) == found


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (0, torch.zeros(9), r"fake has shape \[9\], expected \[N, D\] with N at least 1"),
        (1, torch.zeros(9, 3), r"validation has shape \[9, 3\], expected \[N, 2\] with N at least 1"),
        (2, torch.full((9, 2), math.nan), "test holds nan"),
        (2, torch.zeros(1, 2), r"test has shape \[1, 2\], expected \[N, 2\] with N at least 2"),
    ],
)
def test_parzen_window_names_its_own_arguments(place: int, value: torch.Tensor, said: str) -> None:
    sets = [torch.zeros(9, 2)] * 3
    sets[place] = value
    with pytest.raises(ValueError, match=said):
        parzen_window(*sets)


@pytest.mark.parametrize(
    ("real", "fake", "named"),
    [
        (torch.zeros(9, 2), torch.zeros(9, 3), "fake has shape"),
        (torch.zeros(1, 2), torch.zeros(9, 2), "real has shape"),
        (torch.zeros(9, 2), torch.full((9, 2), math.nan), "fake holds nan"),
    ],
)
def test_sets_that_cannot_be_compared(real: torch.Tensor, fake: torch.Tensor, named: str) -> None:
    for metric in (frechet_distance, neighbourhood):
        with pytest.raises(ValueError, match=named):
            metric(real, fake)


def test_diversity_of_samples_against_the_data() -> None:
    real, fake = clouds(2_000, 2_000)
    found = relative_diversity(fake / 4, real)
    assert found is not None
    assert found == pytest.approx(1 / 4, rel=0.03)
    assert relative_diversity(fake[:1].expand(9, 3), real) == 0
    one_image = real[:1].expand(9, 3)
    for samples in (fake, one_image):
        assert relative_diversity(samples, one_image) is None


def test_mean_distance_of_small_dtypes_neither_wraps_nor_overflows() -> None:
    levels = torch.tensor([[0, 0], [3, 4], [0, 0]], dtype=torch.uint8)
    assert mean_distance(levels) == 5
    assert mean_distance(levels.half() * 10_000) == 50_000
    assert mean_distance(torch.tensor([[0.0], [60_000.0], [0.0]]).half().expand(3, 4)) == 120_000


def test_bad_bandwidths_and_neighbours() -> None:
    with pytest.raises(ValueError, match="sigmas"):
        parzen_log_likelihood(torch.zeros(2, 2), torch.zeros(2, 2), [0.0])
    with pytest.raises(ValueError, match=r"sigmas are \[\]"):
        parzen_log_likelihood(torch.zeros(2, 2), torch.zeros(2, 2), torch.zeros(0))
    with pytest.raises(ValueError, match="k is 0"):
        neighbourhood(torch.zeros(9, 2), torch.zeros(9, 2), 0)
    with pytest.raises(ValueError, match=r"k is 2.5, expected a whole number of at least 1"):
        neighbourhood(torch.zeros(9, 2), torch.zeros(9, 2), 2.5)  # type: ignore[arg-type]


def test_axis_differences_are_in_deviations_of_the_data() -> None:
    rng = torch.Generator().manual_seed(0)
    real = torch.randn(20_000, 3, generator=rng, dtype=torch.float64) * torch.tensor([1.0, 20, 0])
    fake = real[:10_000] * torch.tensor([1.0, 2, 1]) + torch.tensor([0.5, 0, 0])
    shifted, widened, constant = axis_differences(real + 1_000, fake + 1_000)
    assert constant is None
    assert shifted is not None
    assert widened is not None
    assert shifted.mean_error == pytest.approx(0.5, abs=0.02)
    assert shifted.wasserstein == pytest.approx(0.5, abs=0.02)
    assert shifted.deviation_ratio == pytest.approx(1, abs=0.02)
    assert widened.mean_error == pytest.approx(0, abs=0.02)
    assert widened.deviation_ratio == pytest.approx(2, abs=0.05)
    assert widened.wasserstein == pytest.approx((2 / math.pi) ** 0.5, abs=0.02)  # E |X|
    same = axis_differences(real, real)[1]
    assert same is not None
    assert (same.mean_error, same.deviation_ratio, same.wasserstein) == (0, 1, 0)
