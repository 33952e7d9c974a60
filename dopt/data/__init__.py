"""Real data: where the files are, how they are read, and what stands in for them."""

from dopt.data.folders import cache_folder as cache_folder
from dopt.data.folders import data_folder as data_folder
from dopt.data.idx import read_idx as read_idx
from dopt.data.mnist import Digits as Digits
from dopt.data.mnist import load_mnist as load_mnist
