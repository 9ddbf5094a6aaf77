//! Cron sweeps and webhooks become messages.
