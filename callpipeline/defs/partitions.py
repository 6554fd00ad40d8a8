"""The one partition set: a recording is a partition, its key the start of the SHA-256 of its bytes.

One definition for all assets: dependent assets over different dynamic sets fail
(https://github.com/dagster-io/dagster/issues/27888). Never a partition for a chunk: the UI slows down beyond 100,000.
"""

from __future__ import annotations

import dagster as dg

RECORDINGS = "recordings"
recordings = dg.DynamicPartitionsDefinition(name=RECORDINGS)
