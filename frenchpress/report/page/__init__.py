"""A page to look at experiments, `report/index.html`: opens from disk, without a network and without a server.

`write_page` writes it for any experiments; `experiment_entry` says what is known of one in a directory.
"""

from frenchpress.report.page.entry import Entry, experiment_entry
from frenchpress.report.page.write import INDEX, REPORT, said_of, write_page

__all__ = ["INDEX", "REPORT", "Entry", "experiment_entry", "said_of", "write_page"]
