"""Shared set-up: theory precision, strict promotion, and where real data are found."""

import jax


jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
