"""Configs: YAML documents, `RunConfig`, messages for faults, and the shipped configs.

This file imports nothing, so that `wgan configs` lists the shipped configs without waiting for torch.
"""
