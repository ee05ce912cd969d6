"""Code as each framework's users write it first: what Diptych is measured against.

Nothing here is tuned, and nothing is there for show. Two sorts of modules:

- ``jax``, ``keras``, ``tensorflow`` and ``torch`` have the article's network as a tutorial of that
  framework would. ``seconds_a_step(images, labels, batch_size, warm_up)`` takes uint8 images and
  returns the mean of the steps after the warm-up.
- the peers are whole trainings of MNIST that other projects publish, each written anew from what
  its authors describe. ``trained(images, labels, seed, length, clock)`` takes uint8 images
  (n, 28, 28, 1) and int64 labels (n,), trains for ``length`` (epochs, steps or iterations) while
  the clock runs, and returns a function from images to predicted labels. `peers` lists them.

A module's name begins with the framework that it imports.
"""
