//! The state port over Redis 7.
