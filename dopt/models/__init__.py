"""Llama-family decoders: their configuration, forward pass, text and files."""

from dopt.models.config import Config as Config
from dopt.models.config import LinearScaling as LinearScaling
from dopt.models.config import Llama3Scaling as Llama3Scaling
from dopt.models.decoder import Cache as Cache
from dopt.models.decoder import decode_step as decode_step
from dopt.models.decoder import logits as logits
from dopt.models.decoder import prefill as prefill
from dopt.models.generate import generate as generate
from dopt.models.generate import stream as stream
from dopt.models.gguf import load_gguf as load_gguf
from dopt.models.llama2c import load_llama2c as load_llama2c
from dopt.models.llama2c_tokenizer import load_llama2c_tokenizer as load_llama2c_tokenizer
from dopt.models.load import Loaded as Loaded
from dopt.models.load import load as load
from dopt.models.load import load_tokenizer as load_tokenizer
from dopt.models.package_tokenizer import PackageTokenizer as PackageTokenizer
from dopt.models.parameters import Model as Model
from dopt.models.parameters import parameter_count as parameter_count
from dopt.models.parameters import random_parameters as random_parameters
from dopt.models.safetensors import load_hugging_face as load_hugging_face
from dopt.models.safetensors import save_hugging_face as save_hugging_face
from dopt.models.sampling import GREEDY as GREEDY
from dopt.models.sampling import Sampling as Sampling
from dopt.models.scored_tokenizer import ScoredTokenizer as ScoredTokenizer
from dopt.models.tokenizer import Tokenizer as Tokenizer
