"""Small Llamas trained from scratch on a text."""

from dopt.training.checkpoint import forget as forget
from dopt.training.settings import Training as Training
from dopt.training.text import Corpus as Corpus
from dopt.training.text import corpus as corpus
from dopt.training.text import unigram_loss as unigram_loss
from dopt.training.train import History as History
from dopt.training.train import train as train
