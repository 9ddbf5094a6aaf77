//! Builds adapters, connectors and flows from the configuration: the one place that names them all.
