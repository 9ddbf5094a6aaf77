//! The Advoware REST API: address discovery, signed token, parties.
