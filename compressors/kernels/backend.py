"""Which form of an operation runs: the plain one by XLA, or a kernel for a GPU.

Every operation keeps its forms in an `Operation`. A form that cannot serve a call raises
`NotImplementedError` with a sentence; a backend that is asked for by name does so too, and only
"auto" goes on to the next one.

* "xla": plain `jnp`, everywhere; on a CPU this is what "auto" means.
* "triton": Pallas kernels by its Triton lowering.
* "mosaic": Pallas kernels by Mosaic GPU, Hopper and later.
* "interpret": the Triton kernels, interpreted by XLA: for tests, slow.
* "auto": on a GPU the first of `PREFERRED` that serves the call, elsewhere "xla".
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args

import jax

from compressors.kernels import mosaic, triton


Backend = Literal["auto", "xla", "triton", "mosaic", "interpret"]

PREFERRED = ("triton", "mosaic", "xla")
"""What "auto" tries on a GPU, in this order."""

INSTALLED: Mapping[str, Callable[[], None]] = {
    "triton": triton.check_installed,
    "mosaic": mosaic.check_installed,
    "interpret": triton.check_installed,
}
"""What raises `NotImplementedError` where a backend is not to be had."""


def serves(*arguments: Any, **named: Any) -> None:
    """The check of a form that serves every call."""


class Form(NamedTuple):
    """One implementation of an operation.

    `check` takes what `run` takes, looks at shapes and dtypes only, and raises
    `NotImplementedError` naming what is supported where `run` cannot serve.
    """

    run: Callable[..., Any]
    check: Callable[..., None] = serves


class Operation(NamedTuple):
    """An operation, what it does in one line, and its forms by backend; "xla" is among them."""

    name: str
    summary: str
    forms: Mapping[str, Form]


def chosen(operation: Operation, backend: Backend, *arguments: Any, **named: Any) -> str:
    """The name of the backend that runs this call.

    Raises:
        NotImplementedError: a backend other than "auto" does not serve it.
        ValueError: there is no such backend.
    """
    if backend not in get_args(Backend):
        raise ValueError(
            f"there is no backend {backend!r}: give one of {', '.join(get_args(Backend))}"
        )
    if backend != "auto":
        _check(operation, backend, *arguments, **named)
        return backend
    for name in _candidates(operation):
        try:
            _check(operation, name, *arguments, **named)
        except NotImplementedError:
            continue
        return name
    return "xla"


def run(operation: Operation, backend: Backend, *arguments: Any, **named: Any) -> Any:
    """Runs the operation by the backend that is `chosen`."""
    name = chosen(operation, backend, *arguments, **named)
    return operation.forms[name].run(*arguments, **named)


def preferred(operation: Operation) -> str:
    """What "auto" tries first here; a call that it does not serve goes on to the next."""
    for name in _candidates(operation):
        try:
            _check_installed(operation, name)
        except NotImplementedError:
            continue
        return name
    return "xla"


def _candidates(operation: Operation) -> tuple[str, ...]:
    order = PREFERRED if jax.default_backend() == "gpu" else ("xla",)
    return tuple(name for name in order if name in operation.forms)


def _check_installed(operation: Operation, name: str) -> None:
    if name not in operation.forms:
        raise NotImplementedError(
            f"{operation.name} has no form for {name!r}: it has {', '.join(operation.forms)}"
        )
    if name in INSTALLED:
        INSTALLED[name]()


def _check(operation: Operation, name: str, *arguments: Any, **named: Any) -> None:
    _check_installed(operation, name)
    operation.forms[name].check(*arguments, **named)
