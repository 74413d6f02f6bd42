"""Every error odqa raises on purpose.

OdqaError
├── ConfigError          a recipe, a card, a name, a path or an option is wrong
├── CorpusError          a source of documents can't be read
├── DataError            a question data set for training or evaluation is wrong
├── ModelError           a model can't be found, loaded or used for the task
├── QuestionError        a question is empty or too long
└── StoredIndexError     an index is missing, damaged, locked or of another embedder
    ├── IndexNotFoundError
    ├── IndexDamagedError
    ├── IndexMismatchError
    └── IndexLockedError

The service adds `ServiceError` (odqa.service.failures), the client what it met (odqa.client).

A message is one sentence or two: what is wrong with the value or path, what was expected, what to do.
"""


class OdqaError(Exception):
    """Base of all errors that odqa raises on purpose."""


class ConfigError(OdqaError):
    """A recipe, a card, a name, a path or an option is wrong."""


class CorpusError(OdqaError):
    """A source of documents can't be read."""


class DataError(OdqaError):
    """A question data set for training or evaluation is wrong."""


class ModelError(OdqaError):
    """A model can't be found, loaded or used for the task."""


class QuestionError(OdqaError):
    """A question is empty or longer than the reader's window allows."""


class StoredIndexError(OdqaError):
    """An index can't be used as it stands."""


class IndexNotFoundError(StoredIndexError):
    """No index of that name."""


class IndexDamagedError(StoredIndexError):
    """A file of the index is missing or its bytes are not the ones that were written."""


class IndexMismatchError(StoredIndexError):
    """The index was built with another embedder than the one that searches it."""


class IndexLockedError(StoredIndexError):
    """Another process is writing the index."""
