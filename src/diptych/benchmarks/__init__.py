"""The cost of training and inference on this machine, beside each framework's stock code."""
