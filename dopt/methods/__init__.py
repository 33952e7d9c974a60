"""Methods: one file each, named by the method."""

from dopt.methods._base import GradientMethod as GradientMethod
from dopt.methods._base import Job as Job
from dopt.methods._base import Memory as Memory
from dopt.methods._base import Method as Method
from dopt.methods._base import Server as Server
from dopt.methods._base import job_key as job_key
from dopt.methods._base import streams as streams
from dopt.methods.async_sgd import AsynchronousSGD as AsynchronousSGD
from dopt.methods.ef21 import EF21 as EF21
from dopt.methods.marina import MARINA as MARINA
from dopt.methods.minibatch_sgd import MinibatchSGD as MinibatchSGD
from dopt.methods.qsgd import QSGD as QSGD
from dopt.methods.rennala_sgd import RennalaSGD as RennalaSGD
from dopt.methods.sgd_one import SGDOne as SGDOne
from dopt.methods.shadowheart_sgd import ShadowheartSGD as ShadowheartSGD
