"""The workflows: a package per framework, which builds and trains a network as its users would.

In each, ``model.py`` has the network, its loss and one step; ``training.py`` the loop;
``workflow.py`` checkpoints and the protocol of `protocol.Workflow`. What they share is data: the
network, the weights, the batches in order, the recipe.
"""
