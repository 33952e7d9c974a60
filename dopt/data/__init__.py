"""Real data: where the files are, how they are read, and what stands in for them."""

from dopt.data.cifar import load_cifar as load_cifar
from dopt.data.folders import cache_folder as cache_folder
from dopt.data.folders import data_folder as data_folder
from dopt.data.idx import read_idx as read_idx
from dopt.data.images import Images as Images
from dopt.data.libsvm import Samples as Samples
from dopt.data.libsvm import load_libsvm as load_libsvm
from dopt.data.mnist import Digits as Digits
from dopt.data.mnist import load_mnist as load_mnist
from dopt.data.splits import Parts as Parts
from dopt.data.splits import dirichlet_split as dirichlet_split
from dopt.data.splits import even_split as even_split
from dopt.data.splits import label_split as label_split
