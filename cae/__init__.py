"""Context Autoencoder for Self-Supervised Representation Learning, reproduced."""
