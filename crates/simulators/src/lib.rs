//! Upstreams to test against: HTTP servers that share no type with the connectors.
