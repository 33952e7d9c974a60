"""Theory as pure functions: times, step sizes and iteration counts, in host float64.

Symbols are those of the papers: n workers, d dimension, h seconds a gradient, τ seconds a message,
ω and α constants of compressors, S = σ²/ε = `noise_ratio`, Δ = f(x⁰) − f*, ε on the squared norm.
"""

from dopt.theory.complexity import LowerBounds as LowerBounds
from dopt.theory.complexity import batch_qsgd_time as batch_qsgd_time
from dopt.theory.complexity import dense_uplink_time as dense_uplink_time
from dopt.theory.complexity import lower_bounds as lower_bounds
from dopt.theory.complexity import minibatch_time as minibatch_time
from dopt.theory.complexity import qsgd_time as qsgd_time
from dopt.theory.complexity import rennala_time as rennala_time
from dopt.theory.complexity import sgd_one_time as sgd_one_time
from dopt.theory.equilibrium import equilibrium_time as equilibrium_time
from dopt.theory.equilibrium import whole_fits as whole_fits
from dopt.theory.guarantees import Guarantee as Guarantee
from dopt.theory.guarantees import asynchronous_sgd as asynchronous_sgd
from dopt.theory.guarantees import ef21 as ef21
from dopt.theory.guarantees import marina as marina
from dopt.theory.guarantees import minibatch_sgd as minibatch_sgd
from dopt.theory.guarantees import noise_batch as noise_batch
from dopt.theory.guarantees import qsgd as qsgd
from dopt.theory.guarantees import rennala_sgd as rennala_sgd
from dopt.theory.guarantees import sgd as sgd
from dopt.theory.guarantees import sgd_one as sgd_one
from dopt.theory.guarantees import shadowheart_sgd as shadowheart_sgd
from dopt.theory.guarantees import steps_to_accuracy as steps_to_accuracy
from dopt.theory.shadowheart import Plan as Plan
from dopt.theory.shadowheart import plan as plan
from dopt.theory.shadowheart import variance_coefficients as variance_coefficients
