"""The demo's chain through `snakemake --profile slurm`."""

from tests.slurm.project import PRETRAINED, PROBED


def test_a_cluster_ends_with_the_bytes_of_one_machine(copied, undisturbed):
    """From images to a probe's weights; a second run has nothing to do."""
    undisturbed.run(PROBED)
    copied.run(PRETRAINED, PROBED)
    assert {state for state, _ in copied.submitted().values()} == {"COMPLETED"}
    for file in (PRETRAINED, PROBED):
        assert copied.bytes(file) == undisturbed.bytes(file)
    assert "Nothing to be done" in copied.run(PRETRAINED, PROBED)
