//! Google Calendar v3: events by sync tokens, watch channels.
