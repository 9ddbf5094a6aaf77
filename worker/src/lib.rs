//! Messages become converged records.
