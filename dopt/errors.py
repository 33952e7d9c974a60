"""The errors of the library: each message names the value, the bound and the remedy."""


class DoptError(Exception):
    """Anything the library refuses; the command line prints it without a traceback."""


class ConfigurationError(DoptError, ValueError):
    """A value that cannot be used: negative times, K > d, an unknown name."""


class DataError(DoptError):
    """A data file that is absent, cut or not what its header says."""


class SchemaError(DoptError):
    """A results folder written by another version, or half written."""


class NoProgressError(DoptError):
    """A cluster and a policy under which the server never moves."""


class UnsupportedError(DoptError, NotImplementedError):
    """A combination that the chosen path cannot run; the message names the path that can."""


class InterruptedRunError(DoptError):
    """The user asked to stop; what was finished is kept."""
