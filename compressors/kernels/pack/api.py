"""`pack` and `unpack`: checks, and the choice of a backend."""

from jaxtyping import Array, UInt, UInt32

from compressors.kernels.backend import Backend, Form, Operation, run
from compressors.kernels.pack import kernel, mosaic_form, reference
from compressors.kernels.pack.layout import Layout, check_bits, words_of


PACK = Operation(
    "pack",
    "codes of 1 to 32 bits to 32-bit words",
    {
        "xla": Form(reference.pack),
        "triton": Form(kernel.pack, kernel.check_pack),
        "mosaic": Form(mosaic_form.pack, mosaic_form.check_pack),
        "interpret": Form(kernel.pack_interpreted, kernel.check_pack),
    },
)
UNPACK = Operation(
    "unpack",
    "32-bit words to codes of 1 to 32 bits",
    {
        "xla": Form(reference.unpack),
        "triton": Form(kernel.unpack, kernel.check_unpack),
        "mosaic": Form(mosaic_form.unpack, mosaic_form.check_unpack),
        "interpret": Form(kernel.unpack_interpreted, kernel.check_unpack),
    },
)


def pack(
    codes: UInt[Array, "*rows k"],
    bits: int,
    *,
    layout: Layout = "planar",
    backend: Backend = "auto",
) -> UInt32[Array, "*rows words"]:
    """The ⌈k·bits/32⌉ words of each row of codes; of a code only the low `bits` bits are kept.

    Codes are fastest as uint8 where they have up to 8 bits. `layout.py` describes the layouts bit
    by bit.

    Raises:
        ValueError: `bits` is not in 1..32, or more than the dtype of the codes has.
        NotImplementedError: the backend does not serve the call.
    """
    check_bits(bits)
    if bits > 8 * codes.dtype.itemsize:
        raise ValueError(
            f"codes of {codes.dtype} have {8 * codes.dtype.itemsize} bits, not {bits}: give fewer "
            "bits, or codes of a wider dtype"
        )
    return run(PACK, backend, codes, bits, layout)


def unpack(
    words: UInt32[Array, "*rows words"],
    bits: int,
    k: int,
    *,
    layout: Layout = "planar",
    backend: Backend = "auto",
) -> UInt[Array, "*rows k"]:
    """The k codes of each row of words, the inverse of `pack`.

    They have the smallest dtype: uint8 for up to 8 bits, uint16 for up to 16, else uint32.

    Raises:
        ValueError: `bits` is not in 1..32, or there are not ⌈k·bits/32⌉ words.
        NotImplementedError: the backend does not serve the call.
    """
    check_bits(bits)
    if words.shape[-1] != words_of(k, bits):
        raise ValueError(
            f"{k} codes of {bits} bits fill {words_of(k, bits)} words of 32 bits, not "
            f"{words.shape[-1]}: give the k and the bits that the codes were packed with"
        )
    return run(UNPACK, backend, words, bits, k, layout)
