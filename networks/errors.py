"""The exceptions that relubench raises for its users.

    RelubenchError
    ├── InputError (also a ValueError)      what the caller gave does not fit
    │   ├── NetworkError                    a layer list that cannot be
    │   │   └── UnsupportedLayerError       a module that the layer list cannot represent
    │   ├── DataError                       images, labels or files of a data set
    │   ├── SuiteError                      a suite file
    │   ├── NumericsError                   numbers that leave the range of doubles
    │   └── solvers.linear_model.ModelError arrays that do not make a linear model
    ├── SolverError                         a back-end cannot be used here
    │   ├── UnknownSolverError (also an InputError)
    │   └── SolverNotInstalledError (also an InputError)
    ├── WorkerError                         a run's worker processes cannot be started
    └── PairingError                        two installations cannot be timed against each other

Every message is one line that says what, where, which value, what was expected and, where there is one, the way out.
What a solver answers (infeasible, a time limit, a licence too small) is a status, never an exception.
"""


class RelubenchError(Exception):
    """Base of all exceptions that relubench raises on purpose."""


class InputError(RelubenchError, ValueError):
    """An argument, option or file does not fit."""


class NetworkError(InputError):
    """The layers do not make a network: shapes, values or file contents."""


class UnsupportedLayerError(NetworkError):
    """A module that the layer list cannot represent."""


class DataError(InputError):
    """A data set's files, an index into it, or its values."""


class SuiteError(InputError):
    """A suite file: syntax, a key or a value."""


class NumericsError(InputError):
    """A network and an input box whose numbers leave the range of doubles: they make no linear model."""


class SolverError(RelubenchError):
    """A back-end cannot be used on this machine."""


class UnknownSolverError(SolverError, InputError):
    """No back-end has this name."""


class SolverNotInstalledError(SolverError, InputError):
    """The back-end is known, its Python package is not installed."""


class WorkerError(RelubenchError):
    """A run's worker processes cannot be started."""


class PairingError(RelubenchError):
    """Two installations cannot be timed against each other: one of them does not answer, or they have nothing alike."""
