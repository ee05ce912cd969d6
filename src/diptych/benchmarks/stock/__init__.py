"""The article's network in the stock code of each framework, as a baseline.

Nothing here is tuned: it is the code of a tutorial of that framework. Each module has
``seconds_a_step(images, labels, batch_size, warm_up)``: uint8 images, the steps before the clock
starts, and then the mean of the rest.
"""
