import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from dopt.data import Images
from dopt.problems import convolutional_network, leaf_names, perceptron


def test_names_are_paths_in_the_order_of_the_vector():
    params = {"b": [np.zeros((2, 3)), np.ones(4)], "a": np.full((), 2.0), "none": None}
    assert leaf_names(params) == {"a": (), "b.0": (2, 3), "b.1": (4,)}
    flat = ravel_pytree(params)[0]
    assert flat.tolist() == [2.0] + 6 * [0.0] + 4 * [1.0]
    assert leaf_names(np.zeros(3)) == {"": (3,)}


def test_layers_of_the_small_networks_have_names():
    blank = Images(np.zeros((2, 784), np.float32), np.zeros(2, np.int32), "blank")
    dense, convolutional = perceptron(blank, hidden=(5, 4)), convolutional_network(blank)
    assert leaf_names(dense.params) == {
        "0.biases": (5,),
        "0.weights": (784, 5),
        "1.biases": (4,),
        "1.weights": (5, 4),
        "2.biases": (10,),
        "2.weights": (4, 10),
    }
    names = leaf_names(convolutional.params)
    assert len(names) == 6
    assert names["1.weights"] == (5, 5, 8, 16)
    marked = convolutional.unravel(jax.numpy.arange(convolutional.d, dtype=np.float32))
    # The third array begins where the first two, of 8 and 200 entries, end.
    assert marked[1]["biases"][0] == 208
