"""Real data: where the files are, how they are read, and what stands in for them."""

from dopt.data.cifar import load_cifar as load_cifar
from dopt.data.durations import TrainingTimes as TrainingTimes
from dopt.data.durations import load_job_times as load_job_times
from dopt.data.durations import load_training_times as load_training_times
from dopt.data.folders import cache_folder as cache_folder
from dopt.data.folders import data_folder as data_folder
from dopt.data.idx import read_idx as read_idx
from dopt.data.images import Images as Images
from dopt.data.libsvm import Samples as Samples
from dopt.data.libsvm import load_libsvm as load_libsvm
from dopt.data.mnist import Digits as Digits
from dopt.data.mnist import load_mnist as load_mnist
from dopt.data.phones import PhoneSpeeds as PhoneSpeeds
from dopt.data.phones import load_phone_speeds as load_phone_speeds
from dopt.data.splits import Parts as Parts
from dopt.data.splits import dirichlet_split as dirichlet_split
from dopt.data.splits import even_split as even_split
from dopt.data.splits import label_split as label_split
from dopt.data.traces import BandwidthTrace as BandwidthTrace
from dopt.data.traces import load_traces as load_traces
from dopt.data.traces import read_trace as read_trace
