"""`reduce_packed`: checks, and the choice of a backend."""

from jaxtyping import Array, Float, Float32, Int32, UInt32

from compressors.kernels.backend import Backend, Form, Operation, run
from compressors.kernels.pack import words_of
from compressors.kernels.quantize_pack.grids import Grid
from compressors.kernels.quantize_pack.scales import scales
from compressors.kernels.reduce_packed import kernel, reference


MOST_WORKERS = 2**23
"""Workers whose codes of 8 bits sum to less than 2³¹."""

REDUCE_PACKED = Operation(
    "reduce_packed",
    "the mean of n workers' packed codes in one pass",
    {
        "xla": Form(reference.reduce_packed),
        "triton": Form(kernel.reduce_packed, kernel.check),
        "interpret": Form(kernel.interpreted, kernel.check),
    },
)


def reduce_packed(
    words: UInt32[Array, "n words"],
    grid: Grid,
    scale: Float[Array, "..."],
    k: int,
    *,
    zero: Int32[Array, "..."] | None = None,
    group_size: int | None = None,
    backend: Backend = "auto",
) -> Float32[Array, " k"]:
    """The mean of the vectors that n messages of `quantize_pack` stand for.

    With one scale for all workers the codes are summed as int32, which is exact, and scaled once;
    with a scale a worker, shape (n, groups), float32 numbers are summed in the order of workers.

    Raises:
        ValueError: shapes do not fit, or there are no workers or more than 2²³.
        NotImplementedError: the backend does not serve the call.
    """
    n = words.shape[0]
    if not 1 <= n <= MOST_WORKERS:
        raise ValueError(f"the mean of {n} messages: give 1 to {MOST_WORKERS}")
    if words.shape[1] != words_of(k, grid.bits):
        raise ValueError(
            f"{k} codes of {grid} fill {words_of(k, grid.bits)} words, not {words.shape[1]}: give "
            "the k and the grid that they were packed with"
        )
    numbers = scales(grid, (n,), k, scale, zero, group_size)
    return run(REDUCE_PACKED, backend, words, grid, numbers, k)
