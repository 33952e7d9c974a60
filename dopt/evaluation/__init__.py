"""Language models measured on texts: perplexity, divergence from a reference, text, speed."""

from dopt.evaluation.divergence import Divergence as Divergence
from dopt.evaluation.divergence import Reference as Reference
from dopt.evaluation.divergence import against as against
from dopt.evaluation.divergence import divergence as divergence
from dopt.evaluation.divergence import reference as reference
from dopt.evaluation.generation import side_by_side as side_by_side
from dopt.evaluation.per_token import PerToken as PerToken
from dopt.evaluation.per_token import paired_difference as paired_difference
from dopt.evaluation.perplexity import Perplexity as Perplexity
from dopt.evaluation.perplexity import perplexity as perplexity
from dopt.evaluation.size import bits_per_weight as bits_per_weight
from dopt.evaluation.size import resident_bytes as resident_bytes
from dopt.evaluation.speed import speed as speed
from dopt.evaluation.text import read_text as read_text
from dopt.evaluation.windows import Windows as Windows
from dopt.evaluation.windows import cut as cut
from dopt.evaluation.windows import joined as joined
from dopt.evaluation.windows import rows as rows
