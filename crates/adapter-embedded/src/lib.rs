//! Queue and state in one directory on local disk, for a single machine.
