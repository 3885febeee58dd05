"""The demo's chain through `snakemake --profile slurm`."""

from tests.slurm.project import PRETRAINED, PROBED


def test_a_cluster_ends_with_the_bytes_of_one_machine(copied, undisturbed):
    """From images to probes' weights; two probes are sent as one job, and a second run has nothing to do."""
    undisturbed.run(*PROBED)
    copied.run(*PROBED)
    states = [state for state, _ in copied.submitted().values()]
    assert states == ["COMPLETED"] * 6  # tokenizer, tokens, their cache, two models, probes
    for file in (PRETRAINED, *PROBED):
        assert copied.bytes(file) == undisturbed.bytes(file)
    assert "Nothing to be done" in copied.run(*PROBED)
