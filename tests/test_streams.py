import torch

from wgan_cli.streams import NAMES, Streams, stream_seed

CPU = torch.device("cpu")


def test_streams_are_independent_of_each_other() -> None:
    one, other = Streams(0, CPU), Streams(0, CPU)
    torch.randn(100, generator=other.penalty)
    assert torch.equal(torch.randn(5, generator=one.data), torch.randn(5, generator=other.data))


def test_seeds_differ_between_names_and_near_seeds() -> None:
    seeds = {stream_seed(seed, name) for seed in range(100) for name in NAMES}
    assert len(seeds) == 100 * len(NAMES)
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_state_goes_on_where_it_was_saved() -> None:
    streams = Streams(7, CPU)
    torch.randn(3, generator=streams.latents)
    state = streams.state_dict()
    expected = torch.randn(4, generator=streams.latents)
    fresh = Streams(7, CPU)
    fresh.load_state_dict(state)
    assert torch.equal(torch.randn(4, generator=fresh.latents), expected)
