import json

import numpy as np
import pytest

from dopt.results import Status, canonical_json, run_id
from dopt.results.store import Store


REGIMES = {
    "high": ("high speed: τ̇ᵢ = √i/d", 1.0),
    "medium": ("medium speed: τ̇ᵢ = √i/d^(3/4)", 9.4),
    "low": ("low speed: τ̇ᵢ = √i/√d", 88.0),
}
METHODS = {  # seconds a step = a + b·link, decay a step, floor, bits a step
    "Minibatch SGD": (17.0, 17.0, 0.02, 1e-6, 300 * 64 * 7850),
    "QSGD": (17.0, 0.6, 0.004, 6e-6, 300 * 64 * 200),
    "Asynchronous SGD": (0.03, 0.03, 2e-5, 3e-5, 64 * 7850),
    "Rennala SGD": (5.0, 9.0, 0.02, 1e-6, 150 * 64 * 7850),
    "SGD One": (1.0, 0.0, 0.0006, 9e-5, 0),
    "Shadowheart SGD": (6.0, 0.5, 0.015, 1e-6, 80 * 64 * 900),
    "Shadowheart SGD (S = σ²/ε)": (9.0, 0.8, 0.02, 2e-6, 60 * 64 * 1200),
}
TARGET = 1e-4
N = 300
