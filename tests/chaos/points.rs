//! Labelled points of the programs under test: what is to happen at which, and how often it did.
