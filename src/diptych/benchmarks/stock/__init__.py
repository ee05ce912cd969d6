"""Stock code, as a baseline: the article's network in each framework, and what others publish.

Nothing here is tuned. There are two sorts of modules:

- ``jax``, ``keras``, ``tensorflow`` and ``torch`` have the article's network in the code of a
  tutorial of that framework. ``seconds_a_step(images, labels, batch_size, warm_up)`` takes uint8
  images and the number of steps before the clock starts, and returns the mean of the rest.
- The peers are whole trainings of MNIST that other projects publish, each written anew from what
  its authors describe. ``trained(images, labels, seed, length, clock)`` takes uint8 images
  (n, 28, 28, 1) and int64 labels (n,), trains for ``length`` (epochs, steps or iterations) while
  the clock runs, and returns a function from images to predicted labels. `peers` lists them.

A module's name begins with the framework that it imports.
"""
