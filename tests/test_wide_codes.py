"""Maps of codes of many coordinates: leading coordinates are learned, the rest is a closed form."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from latent_atlas.anomaly import ConformalScorer, gather
from latent_atlas.atlas.atlas import Atlas
from latent_atlas.boundary import fit_boundary
from latent_atlas.boundary.gaussian import GaussianBoundary, PriorBoundary
from latent_atlas.codes.posterior import Codes
from latent_atlas.config import Config, MapConfig
from latent_atlas.density import GaussianMixture
from latent_atlas.density.gaussian_mixture import fit_gaussian_mixture
from latent_atlas.density_ratio import LatentMap
from latent_atlas.density_ratio.leading import Axes, describe_leading, principal_axes
from latent_atlas.density_ratio.train import bridge, bridge_losses
from latent_atlas.errors import UserError
from latent_atlas.nn.latent_discriminator import LatentDiscriminator
from latent_atlas.nn.mixture_reference import MixtureReference
from latent_atlas.nn.wide_discriminator import ScaleMixture, WideDiscriminator
from latent_atlas.report.figures.map import draw_map
from latent_atlas.sampling import draw
from latent_atlas.travel import plan
from latent_atlas.travel.planners.typical import denoised

D = 80  # coordinates, of which four tell three clusters apart
QUICK = MapConfig(width=32, depth=1, steps=60, batch_size=256, check_every=20)
TURNED = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(7)))[0]
SCALES = torch.arange(1, D + 1).float() ** -0.5


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Clusters:
    """Three clusters in the four leading coordinates of a turned, anisotropic space."""

    means = torch.nn.functional.pad(torch.eye(4)[:3] * 8, (0, D - 4))

    def sample(self, n: int, *, seed: int, degrees: int | None = None) -> Tensor:
        random = generator(seed)
        chosen = torch.randint(3, (n,), generator=random)
        noise = torch.randn(n, D, generator=random)
        if degrees:  # Student's t of so many degrees of freedom around each centre
            squares = torch.randn(n, degrees, generator=random).square().sum(dim=1, keepdim=True)
            noise = noise * (degrees / squares).sqrt()
        return ((self.means[chosen] + noise) * SCALES) @ TURNED.T

    def log_prob(self, codes: Tensor, *, degrees: int | None = None) -> Tensor:
        y = codes @ TURNED / SCALES
        squares = (y[:, None] - self.means).square().sum(dim=2)
        logs = -0.5 * squares - 0.5 * D * math.log(2 * math.pi)
        if degrees:
            ends = torch.special.gammaln(torch.tensor([(degrees + D) / 2, degrees / 2]))
            logs = ends[0] - ends[1] - 0.5 * D * math.log(degrees * math.pi)
            logs = logs - 0.5 * (degrees + D) * torch.log1p(squares / degrees)
        return logs.logsumexp(dim=1) - SCALES.log().sum() - math.log(3)


@pytest.fixture(scope="module")
def clusters() -> LatentMap:
    codes = Clusters().sample(4_000, seed=0)
    return LatentMap.fit(codes, generator=generator(), config=QUICK, warn=False)


def test_a_wide_map_has_the_exact_density_and_score(clusters: LatentMap) -> None:
    codes = Clusters().sample(1_000, seed=1)
    exact, found = Clusters().log_prob(codes), clusters.log_prob(codes)
    gaussian = clusters.boundary.log_prob(codes)
    assert abs((found - exact).mean()) < 1
    assert (gaussian - exact).mean() < -2  # what a single Gaussian does not know
    z = codes.clone().requires_grad_()
    (score,) = torch.autograd.grad(Clusters().log_prob(z).sum(), z)
    cosine = torch.nn.functional.cosine_similarity(clusters.score(codes), score)
    assert cosine.mean() > 0.95


@pytest.fixture(scope="module")
def heavy() -> LatentMap:
    codes = Clusters().sample(4_000, seed=0, degrees=3)
    return LatentMap.fit(codes, generator=generator(), config=QUICK, warn=False)


def test_heavy_tails_of_all_coordinates_at_once_are_one_scale(heavy: LatentMap) -> None:
    codes = Clusters().sample(1_000, seed=1, degrees=3)
    member = heavy.network.members[0]
    assert isinstance(member, WideDiscriminator)
    assert member.shared_scale
    exact, found = Clusters().log_prob(codes, degrees=3), heavy.log_prob(codes)
    assert abs((found - exact).mean()) < 3
    # As independent, the leading coordinates and the rest are much less likely.
    member.shared_scale = False
    try:
        assert (heavy.log_prob(codes) - exact).mean() < -5
    finally:
        member.shared_scale = True
    z = codes.clone().requires_grad_()
    (score,) = torch.autograd.grad(Clusters().log_prob(z, degrees=3).sum(), z)
    cosine = torch.nn.functional.cosine_similarity(heavy.score(codes), score)
    assert cosine.mean() > 0.95


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.0, math.pi / 2])
def test_a_shared_scale_has_the_noised_density_of_a_scale_mixture(angle: float) -> None:
    """log Σ_s P(s) Σ_j π_j N(u; cos √s μ_j, (cos² s + sin²) I) N(v; 0, (cos² s + sin²) I)."""
    k, m, scales = 4, 200, torch.tensor([0.5, 4.0])
    means = torch.tensor([[2.0] * k, [-2.0] * k])
    mixture = MixtureReference(k, 2)
    mixture.set(GaussianMixture(torch.ones(2) / 2, means, torch.eye(k).repeat(2, 1, 1)))
    rest = ScaleMixture(m)
    rest.scales.copy_(scales.repeat(32))
    axes = torch.eye(k + m)[:, :k]
    learned = LatentDiscriminator(k, width=8, depth=1)  # 0, before it learns
    learned.drop_reference()
    d_z = WideDiscriminator(learned, mixture, rest, axes, torch.zeros(k + m, 0), shared_scale=True)
    random = generator()
    s = scales[torch.randint(2, (500, 1), generator=random)]
    centres = torch.nn.functional.pad(means[torch.randint(2, (500,), generator=random)], (0, m))
    cos, sin = math.cos(angle), math.sin(angle)
    noise = torch.randn(2, 500, k + m, generator=random)
    w = cos * s.sqrt() * (centres + noise[0]) + sin * noise[1]
    logs = [
        -0.5
        * (w - cos * scale.sqrt() * torch.nn.functional.pad(mean, (0, m))).square().sum(dim=1)
        / (cos**2 * scale + sin**2)
        - 0.5 * (k + m) * math.log(cos**2 * scale + sin**2)
        for scale in scales
        for mean in means
    ]
    exact = torch.stack(logs).logsumexp(dim=0) - math.log(4) + 0.5 * w.square().sum(dim=1)
    assert (d_z(w, torch.tensor([angle])) - exact).abs().mean() < 0.02


def test_far_from_wide_codes_typicality_falls_to_0_and_realness_does_not(
    clusters: LatentMap,
) -> None:
    codes = Clusters().sample(60, seed=5)
    parts = {"train": Codes(codes[:40]), "held_out": Codes(codes[40:])}
    atlas = Atlas(None, clusters, parts, Config())
    far = codes[0] + 1_000 * SCALES[-1] * TURNED[:, -1]  # along the last of the rest
    assert clusters.realness(far[None]) == 1  # the tails of the rest are heavier than a Gaussian's
    assert clusters.typicality(far[None]) == 0
    picture = draw_map(atlas, (codes[1], codes[2], far), {}, resolution=16)
    titles = [text.get_text() for text in picture.texts]
    titles += [text.get_text() for axes in picture.axes for text in axes.texts]
    assert "Typicality" in titles
    assert "Realness" not in titles


def test_a_wide_map_samples_all_clusters(clusters: LatentMap) -> None:
    points = draw(clusters, 300, generator=generator()).points
    nearest = torch.cdist((points @ TURNED / SCALES)[:, :4], Clusters.means[:, :4]).argmin(dim=1)
    assert (nearest.bincount(minlength=3) / 300 > 0.2).all()
    assert (
        Clusters().log_prob(points).mean()
        > Clusters().log_prob(Clusters().sample(300, seed=3)).mean() - 10
    )


def test_a_wide_map_is_saved_whole(clusters: LatentMap, tmp_path: Path) -> None:
    clusters.save(tmp_path / "map.safetensors")
    again = LatentMap.load(tmp_path / "map.safetensors")
    codes = Clusters().sample(50, seed=2)
    assert torch.allclose(again.log_prob(codes), clusters.log_prob(codes), atol=1e-3)
    assert torch.allclose(again.score(codes), clusters.score(codes), atol=1e-3)


def test_what_is_learned_where_is_said(clusters: LatentMap) -> None:
    assert any("80 coordinates" in warning for warning in clusters.warnings)


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.2])
def test_gradients_in_closed_form_are_those_of_autograd(clusters: LatentMap, angle: float) -> None:
    member = clusters.network.members[0]
    assert isinstance(member, WideDiscriminator)
    w = torch.randn(20, D, generator=generator()).requires_grad_()
    t = torch.full((1,), angle)
    logit = member(w, t)
    (slope,) = torch.autograd.grad(logit.sum(), w)
    found, gradient = member.at(t)(w.detach())
    assert torch.allclose(found, logit, atol=1e-3)
    assert torch.allclose(gradient, slope, atol=1e-3)


def test_the_reference_is_the_noised_mixture_at_every_level() -> None:
    random = generator()
    factors = torch.randn(3, 4, 4, generator=random) / 3
    factors = torch.linalg.cholesky(factors @ factors.mT + 0.1 * torch.eye(4))
    mixture = GaussianMixture(
        torch.tensor([0.2, 0.3, 0.5]), torch.randn(3, 4, generator=random), factors
    )
    reference = MixtureReference(4, 3)
    reference.set(mixture)
    z = torch.randn(30, 4, generator=random)
    for t in (0.0, 0.4, 1.3):
        cos, sin = math.cos(t), math.sin(t)
        # cos z + sin eps, in the units of z: noise of the width tan t.
        noised = mixture.noised(math.tan(t)).log_prob(z / cos) - 4 * math.log(cos)
        expected = noised + 0.5 * z.square().sum(dim=1) + 2 * math.log(2 * math.pi)
        assert torch.allclose(reference(z, *torch.tensor([[[cos]], [[sin]]])), expected, atol=1e-4)
        found, slope = reference.at(torch.tensor([t]))(z)
        assert torch.allclose(found, expected, atol=1e-4)
        y = z.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(reference(y, *torch.tensor([[[cos]], [[sin]]])).sum(), y)
        assert torch.allclose(slope, gradient, atol=1e-4)
    angles = torch.linspace(0, 1.5, 30)
    noise = angles.cos()[:, None], angles.sin()[:, None]
    nats, slope = reference.slope(z, *noise)
    (gradient,) = torch.autograd.grad(reference(y, *noise).sum(), y)
    assert torch.allclose(nats, reference(z, *noise), atol=1e-4)
    assert torch.allclose(slope, gradient, atol=1e-4)


def test_training_from_a_mixture_takes_its_gradient_in_closed_form() -> None:
    class Plain(torch.nn.Module):
        """The same logits, as any module gives them."""

        def forward(self, latents: Tensor, angles: Tensor) -> Tensor:
            return network(latents, angles)

    random = generator()
    network = LatentDiscriminator(4, width=8, depth=1)
    network.set_mixture(
        GaussianMixture(
            torch.tensor([0.4, 0.6]),
            torch.randn(2, 4, generator=random),
            torch.eye(4) * torch.tensor([0.5, 2.0])[:, None, None],
        )
    )
    torch.nn.init.normal_(network.head.weight, generator=random)
    codes = Codes(torch.randn(50, 4, generator=random))
    ends = bridge(codes, PriorBoundary(4), 3, 20, generator=random)
    found = []
    for judged in (network, Plain()):
        cross_entropy, score = bridge_losses(judged, ends, 3, with_score=True)
        (cross_entropy + score).backward(inputs=list(network.parameters()))
        gradients = [weight.grad for weight in network.parameters()]
        found.append((cross_entropy, score, *(one for one in gradients if one is not None)))
        network.zero_grad()
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)


def test_a_discriminator_with_a_mixture_has_closed_form_gradients() -> None:
    network = LatentDiscriminator(4, width=8, depth=1, components=2)
    torch.nn.init.normal_(network.head.weight, generator=generator())
    network.reference.fill_(1)
    z = torch.randn(10, 4, generator=generator()).requires_grad_()
    t = torch.full((1,), 0.4)
    logit = network(z, t)
    (slope,) = torch.autograd.grad(logit.sum(), z)
    found, gradient = network.at(t)(z.detach())
    assert torch.allclose(found, logit, atol=1e-4)
    assert torch.allclose(gradient, slope, atol=1e-4)


def test_heavy_tails_of_the_length_are_learned() -> None:
    m, degrees = 100, 5
    random = generator()
    chi = torch.randn(20_000, degrees, generator=random).square().sum(dim=1)
    squares = torch.randn(20_000, m, generator=random).square().sum(dim=1) * degrees / chi
    known = torch.special.gammaln(torch.tensor([(degrees + m) / 2, degrees / 2])).tolist()
    exact = (
        known[0]
        - known[1]
        - 0.5 * m * math.log(degrees * math.pi)
        - 0.5 * (degrees + m) * torch.log1p(squares / degrees)
    )
    rest = ScaleMixture(m)
    rest.fit(squares[:10_000])
    one, zero = torch.ones(1, 1), torch.zeros(1, 1)
    gaussian = -0.5 * squares - 0.5 * m * math.log(2 * math.pi)
    found = rest(squares[:, None], one, zero)[0] + gaussian
    assert abs((found - exact)[10_000:].mean()) < 0.05
    assert (gaussian - exact)[10_000:].mean() < -10
    assert rest(squares[:, None], zero, one)[0].abs().max() < 1e-2  # noise alone is N(0, I)


def test_the_leading_coordinates_are_those_that_tell_clusters_apart() -> None:
    codes = Clusters().sample(3_000, seed=0)
    boundary = fit_boundary("gaussian", codes, generator=generator())
    assert isinstance(boundary, GaussianBoundary)
    axes, null = principal_axes(codes, boundary)
    assert null.shape == (D, 0)
    assert torch.allclose(axes.T @ axes, torch.eye(axes.shape[1]), atol=1e-4)
    white = boundary.whiten(codes)
    found, mixture = describe_leading(
        white[500:], white[:500], Axes(axes, null), generator=generator()
    )
    assert mixture.dimension <= 16
    assert found.axes.leading.shape == (D, mixture.dimension)
    assert not found.shared_scale
    variances = (codes @ TURNED).var(dim=0)[:4]
    assert variances.min() > (codes @ TURNED).var(dim=0)[4:].max()


@pytest.mark.parametrize("full", [True, False])
def test_leading_coordinates_of_a_mixture_have_the_marginal_density(full: bool) -> None:
    """The integral over the last coordinate, on a grid."""
    factors = torch.tensor([[[1.0, 0, 0], [0.5, 0.8, 0], [-0.3, 0.4, 0.6]]]).repeat(2, 1, 1)
    scales = factors if full else torch.tensor([[1.0, 0.5, 0.7], [0.4, 0.8, 0.6]])
    mixture = GaussianMixture(
        torch.tensor([0.3, 0.7]), torch.tensor([[0.0] * 3, [1.0] * 3]), scales
    )
    z, grid = torch.randn(20, 2, generator=generator()), torch.linspace(-8, 8, 2_001)
    whole = torch.cat([z.repeat_interleave(2_001, 0), grid.repeat(20)[:, None]], dim=1)
    integral = mixture.log_prob(whole).exp().view(20, -1).sum(dim=1) * (grid[1] - grid[0])
    assert torch.allclose(mixture.leading(2).log_prob(z).exp(), integral, rtol=1e-3)


def test_held_out_codes_choose_the_components() -> None:
    codes = Clusters().sample(3_000, seed=0) @ TURNED
    some, others = codes[:2_000, :4], codes[2_000:, :4]
    mixture = fit_gaussian_mixture(some, held_out=others, generator=generator())
    assert len(mixture.weights) == 4  # the first that has a Gaussian for each cluster


def test_mixtures_that_are_fitted_side_by_side_are_those_fitted_in_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = Clusters()
    real, others = world.sample(400, seed=0)[:, :4], world.sample(200, seed=1)[:, :4]
    means = []
    for threads in (1, 4):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        means.append(fit_gaussian_mixture(real, held_out=others, generator=generator()).means)
    assert torch.equal(*means)


@pytest.mark.parametrize(("passes", "steps"), [(1, 7), (50, 60)])
def test_wide_codes_are_drawn_so_many_times_at_most(passes: int, steps: int) -> None:
    config = replace(QUICK, passes=passes)
    codes, seen = Clusters().sample(2_000, seed=0), []
    LatentMap.fit(codes, config=config, generator=generator(), log=seen.append, warn=False)
    assert seen[-1]["step"] == steps  # 1,800 codes to learn from, 256 in a step, 60 steps at most


def test_codes_that_span_part_of_the_space_are_dense_within_it() -> None:
    """Twenty more coordinates that are sums of the others leave the density of the first as it is."""
    sums = torch.randn(D, 20, generator=generator(3)) / D**0.5
    volume = 0.5 * torch.linalg.slogdet(torch.eye(D) + sums @ sums.T).logabsdet
    codes = [Clusters().sample(n, seed=n) for n in (4_000, 500)]
    both = [torch.cat([some, some @ sums], dim=1) for some in codes]
    found = LatentMap.fit(both[0], generator=generator(), config=QUICK, warn=False)
    assert any("span 80 of 100" in warning for warning in found.warnings)
    member = found.network.members[0]
    assert isinstance(member, WideDiscriminator)
    assert member.null.shape[1] == 20
    outside = torch.linalg.eigh(both[0].double().T.cov()).eigenvectors[:, :20].float()
    across = outside.T @ found.boundary.tensors()["factor"] @ member.null  # what it is wide there
    spread = torch.linalg.slogdet(across).logabsdet + 10 * math.log(2 * math.pi)
    exact = Clusters().log_prob(codes[1]) - volume
    assert abs((found.log_prob(both[1]) + spread - exact).mean()) < 2


def test_paths_and_draws_stay_on_the_sphere_of_the_codes(tmp_path: Path) -> None:
    codes = torch.nn.functional.normalize(torch.randn(800, 5, generator=generator()) + 1)
    found = LatentMap.fit(3 * codes, generator=generator(), config=QUICK, warn=False)
    assert any("sphere of radius 3;" in warning for warning in found.warnings)
    found.save(tmp_path / "map.safetensors")
    found = LatentMap.load(tmp_path / "map.safetensors")
    path = plan(found, 3 * codes[0], 3 * codes[1], "linear", frames=9)
    assert torch.allclose(path.points.norm(dim=2), torch.tensor(3.0))
    assert torch.equal(path.points[-1, 0], 3 * codes[1])
    drawn = draw(found, 50, generator=generator()).points
    assert torch.allclose(drawn.norm(dim=1), torch.tensor(3.0))
    near = LatentMap.fit(
        codes * torch.linspace(1, 1.1, 800)[:, None], generator=generator(), config=QUICK
    )
    assert near.sphere is None


@pytest.mark.parametrize("rank", [1, 5, 8, 9])
def test_codes_that_span_a_few_dimensions_have_a_map(rank: int) -> None:
    """Down to those whose leading coordinates leave no rest."""
    random = generator()
    codes = torch.randn(200, rank, generator=random) @ torch.randn(rank, 70, generator=random)
    quick = MapConfig(width=8, depth=1, steps=2, batch_size=32, check_every=2)
    found = LatentMap.fit(codes, generator=random, config=quick, warn=False)
    assert found.log_prob(codes).isfinite().all()
    assert found.score(codes).isfinite().all()


def test_fewer_codes_than_coordinates_have_a_map() -> None:
    codes = Clusters().sample(60, seed=0)
    found = LatentMap.fit(codes, generator=generator(), config=QUICK, warn=False)
    assert any("span" in warning for warning in found.warnings)
    assert found.log_prob(Clusters().sample(20, seed=1)).isfinite().all()


def test_what_d_z_adds_is_kept_only_if_held_out_codes_confirm_it(clusters: LatentMap) -> None:
    """Beside a mixture that is right already, a D_z of few codes has nothing to add."""
    member = clusters.network.members[0]
    assert isinstance(member, WideDiscriminator)
    codes = Clusters().sample(1_000, seed=4)
    u = clusters.whiten(codes) @ member.axes
    added = member.learned(u[:, : len(member.learned.mean)])
    constant = clusters.calibration.log_normalising_constant
    assert added.mean() - constant >= 0
    assert any("D_z" in warning for warning in clusters.warnings)


def test_embeddings_are_judged_by_leading_coordinates_neighbours_and_the_rest(
    clusters: LatentMap,
) -> None:
    usual = gather(clusters, Codes(Clusters().sample(1_000, seed=5)))
    scorer = ConformalScorer(usual, Clusters().sample(1_000, seed=4), generator=generator())
    between = (Clusters.means.mean(dim=0) * SCALES) @ TURNED.T + 0.1 * Clusters().sample(
        200, seed=6
    )
    real = Clusters().sample(400, seed=7)
    beyond = (
        real + 3 * (torch.randn(400, D, generator=generator()) * SCALES)[:, 20:] @ TURNED.T[20:]
    )
    turned = Clusters().sample(200, seed=8).flip(1)  # of usual length in another direction
    parts = {"rarity": between, "excess_residual": beyond, "excess_distance": turned}
    for part, anomalous in parts.items():
        table = scorer.anomaly(gather(clusters, Codes(anomalous)))
        assert getattr(table, part).mean() > 3
        assert table.is_outlier.mean() > 0.9
    assert scorer.anomaly(gather(clusters, Codes(real))).is_outlier.mean() < 0.09
    known = scorer.known()
    assert known["learned"].shape == (1_000, D)
    assert np.allclose(np.linalg.norm(known["learned"], axis=1), 1)
    assert known["centre"].shape == known["scale"].shape == (3,)


@pytest.mark.parametrize("planner", ["typical", "flow"])
def test_paths_of_wide_codes_are_as_likely_as_codes(clusters: LatentMap, planner: str) -> None:
    """Neither less likely nor more: the middle of many coordinates is likelier than any code."""
    codes = Clusters().sample(1_000, seed=8)
    low, high = Clusters().log_prob(codes).quantile(torch.tensor([0.025, 0.975]))
    start, end = codes[:10], codes[10:20]
    shares = [
        ((likely < low) | (likely > high)).float().mean()
        for name in (planner, "linear")
        for points in [plan(clusters, start, end, name, generator=generator()).points[1:-1]]
        for likely in [Clusters().log_prob(points.flatten(0, 1))]
    ]
    assert shares[0] < 0.25
    assert shares[1] > 0.3


def test_denoising_is_the_posterior_mean_in_the_coordinates_of_the_noise() -> None:
    """Of a Gaussian, whitened by itself: w / (1 + width²), whatever its covariance in z."""
    factor = torch.tensor([[3.0, 0.0], [1.0, 0.2]])
    world = GaussianBoundary(torch.tensor([1.0, -2.0]), factor)
    points = world.unwhiten(torch.randn(3, 2, generator=generator()))[:, None]
    points[0] = points[-1] = world.mean  # where denoising moves nothing
    found = denoised(points, world, 0.5)
    white = world.whiten(points.flatten(0, 1)) / 1.25
    assert torch.allclose(found.flatten(0, 1), world.unwhiten(white), atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(15, 120),
    d=st.sampled_from([65, 90, 130]),
    rank=st.integers(0, 130) | st.integers(0, 12),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    constant=st.booleans(),
    copies=st.booleans(),
)
def test_any_wide_codes_have_a_map_or_one_sentence(
    n: int, d: int, rank: int, scale: float, constant: bool, copies: bool
) -> None:
    random = np.random.default_rng(n * 1_000 + rank)
    codes = scale * random.normal(size=(n, min(rank, d))) @ random.normal(size=(min(rank, d), d))
    if constant:
        codes[:, : d // 2] = scale
    if copies:
        codes[n // 2 :] = codes[: n - n // 2]
    quick = MapConfig(width=8, depth=1, steps=2, batch_size=32, check_every=2)
    try:
        found = LatentMap.fit(
            codes.astype(np.float32), generator=generator(), config=quick, warn=False
        )
    except UserError:
        return
    assert found.log_prob(torch.from_numpy(codes).float()).isfinite().all()
