//! What all connectors share: deadlines, bounded bodies, Retry-After, limits per account, redaction.
