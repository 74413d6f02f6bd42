"""Documents from files and data sets, and the passages they are cut into."""

from odqa.corpus.passages import Splitter
from odqa.corpus.sources import Format, read_documents

__all__ = ["Format", "Splitter", "read_documents"]
