//! One TOML file: defaults, file, environment; every problem reported at once.
