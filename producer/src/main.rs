//! The `producer` program.
fn main() {}
