"""Configs: YAML documents, `RunConfig`, faults in a user's words, and the shipped configs.

Nothing is imported here: `wgan configs` lists the shipped ones without waiting for torch.
"""
