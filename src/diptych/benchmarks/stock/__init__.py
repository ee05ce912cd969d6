"""The article's network as each framework's users write it first: what ours is held against.

Nothing here is tuned, and nothing is there for show: it is what a tutorial of that framework has.
Each module has ``seconds_a_step(images, labels, batch_size, warm_up)``: uint8 images, the steps
before the clock starts, and then the mean of the rest.
"""
