//! The EspoCRM REST API as it really behaves.
