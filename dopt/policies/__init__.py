"""Policies: who computes what, which arrivals count, when the server moves."""

from dopt.policies._base import Action as Action
from dopt.policies._base import Arrival as Arrival
from dopt.policies._base import Assign as Assign
from dopt.policies._base import Cancel as Cancel
from dopt.policies._base import Count as Count
from dopt.policies._base import Policy as Policy
from dopt.policies._base import Run as Run
from dopt.policies._base import Step as Step
from dopt.policies._base import Timing as Timing
from dopt.policies.budgets import BudgetRounds as BudgetRounds
from dopt.policies.budgets import FixedBudget as FixedBudget
from dopt.policies.budgets import RoundTime as RoundTime
from dopt.policies.budgets import Sizes as Sizes
from dopt.policies.budgets import Spending as Spending
from dopt.policies.lossy import Lossy as Lossy
from dopt.policies.rounds import Cycle as Cycle
from dopt.policies.rounds import RoundPolicy as RoundPolicy
from dopt.policies.rounds import Rounds as Rounds
from dopt.policies.rounds import SampledRounds as SampledRounds
from dopt.policies.rounds import pattern as pattern
from dopt.policies.streams import EveryArrival as EveryArrival
from dopt.policies.streams import FreshBatch as FreshBatch
