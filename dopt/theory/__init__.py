"""Theory as pure functions: times, step sizes and iteration counts, in host float64.

Symbols are those of the papers: n workers, d dimension, h seconds a gradient, τ seconds a message,
ω and α constants of compressors, S = σ²/ε = `noise_ratio`, Δ = f(x⁰) − f*, ε on the squared norm.
"""

from dopt.theory.communication import Optimum as Optimum
from dopt.theory.communication import communication as communication
from dopt.theory.communication import gain as gain
from dopt.theory.communication import gain_limit as gain_limit
from dopt.theory.communication import least_communication as least_communication
from dopt.theory.communication import relative_noise as relative_noise
from dopt.theory.complexity import LowerBounds as LowerBounds
from dopt.theory.complexity import batch_qsgd_time as batch_qsgd_time
from dopt.theory.complexity import dense_uplink_time as dense_uplink_time
from dopt.theory.complexity import lower_bounds as lower_bounds
from dopt.theory.complexity import minibatch_time as minibatch_time
from dopt.theory.complexity import qsgd_time as qsgd_time
from dopt.theory.complexity import rennala_time as rennala_time
from dopt.theory.complexity import sgd_one_time as sgd_one_time
from dopt.theory.differences import dasha_mvr_step_size as dasha_mvr_step_size
from dopt.theory.differences import dasha_step_size as dasha_step_size
from dopt.theory.differences import importance_ab as importance_ab
from dopt.theory.differences import marina_step_size as marina_step_size
from dopt.theory.differences import pp_marina_step_size as pp_marina_step_size
from dopt.theory.differences import sampled_ab as sampled_ab
from dopt.theory.differences import vr_marina_step_size as vr_marina_step_size
from dopt.theory.equilibrium import equilibrium_time as equilibrium_time
from dopt.theory.equilibrium import whole_fits as whole_fits
from dopt.theory.error_feedback import Contraction as Contraction
from dopt.theory.error_feedback import contraction as contraction
from dopt.theory.error_feedback import ef14_step_size as ef14_step_size
from dopt.theory.error_feedback import (
    ef21_bidirectional_step_size as ef21_bidirectional_step_size,
)
from dopt.theory.error_feedback import ef21_pp_step_size as ef21_pp_step_size
from dopt.theory.error_feedback import ef21_sgdm_step_size as ef21_sgdm_step_size
from dopt.theory.error_feedback import ef21_step_size as ef21_step_size
from dopt.theory.error_feedback import ef21p_step_size as ef21p_step_size
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
from dopt.theory.shifts import dcgd_step_size as dcgd_step_size
from dopt.theory.shifts import diana_convex_step_size as diana_convex_step_size
from dopt.theory.shifts import diana_step_size as diana_step_size
from dopt.theory.shifts import gradient_descent_step_size as gradient_descent_step_size
from dopt.theory.shifts import local_sgd_step_size as local_sgd_step_size
from dopt.theory.shifts import shift_step_size as shift_step_size
