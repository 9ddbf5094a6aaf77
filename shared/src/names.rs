//! Every metric's name, in one place. Nothing else in the project writes a metric name.

use crate::meter::Metric;
use crate::meter::MetricKind::{Counter, Gauge, Histogram};

macro_rules! metrics {
    ($($ident:ident = $name:literal, $kind:ident, [$($label:literal),*], $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $ident: Metric =
                Metric { name: $name, help: $help, kind: $kind, labels: &[$($label),*] };
        )*
        /// All metrics, so that each is registered and starts at 0.
        pub static ALL: &[&Metric] = &[$(&$ident),*];
    };
}

metrics! {
    MESSAGES_PUBLISHED = "syncfleet_messages_published_total", Counter, ["flow", "cause"], "Messages that the queue confirmed as durable.";
    DELIVERIES = "syncfleet_deliveries_total", Counter, ["flow", "settlement"], "Deliveries by how they were settled.";
    DELIVERIES_IN_PROGRESS = "syncfleet_deliveries_in_progress", Gauge, ["flow"], "Runs going on now.";
    DELIVERY_DURATION = "syncfleet_delivery_duration_seconds", Histogram, ["flow"], "Time a run took, from its start until all that follows from it is done.";
    DELIVERY_WAIT = "syncfleet_delivery_wait_seconds", Histogram, ["flow"], "Time from publishing a message to the start of its run.";
    MESSAGES_COALESCED = "syncfleet_messages_coalesced_total", Counter, ["flow"], "Messages acknowledged by the run of another message of the same key.";
    CONVERGENCE = "syncfleet_convergence_seconds", Histogram, ["flow"], "Time from the event at the source until both sides agreed.";
    QUEUE_MESSAGES = "syncfleet_queue_messages", Gauge, ["flow"], "Messages that wait in the queue, delayed ones included.";
    OLDEST_MESSAGE = "syncfleet_oldest_message_timestamp_seconds", Gauge, ["flow"], "When the oldest waiting message was published; 0 when none waits.";
    PARKED_MESSAGES = "syncfleet_parked_messages", Gauge, ["flow"], "Messages that wait for another record.";
    OLDEST_PARKED = "syncfleet_oldest_parked_timestamp_seconds", Gauge, ["flow"], "When the message that waits longest for another record was parked; 0 when none waits.";
    DEAD_LETTERS = "syncfleet_dead_letters", Gauge, ["flow", "reason"], "Open dead letters.";
    DEAD_LETTERS_OPENED = "syncfleet_dead_letters_total", Counter, ["flow", "reason"], "Messages that became dead letters.";
    PLAN_ACTIONS = "syncfleet_plan_actions_total", Counter, ["flow", "action"], "Actions applied, by kind.";
    CONFLICTS = "syncfleet_conflicts_total", Counter, ["flow", "policy"], "Fields that both sides had changed, by the policy that decided.";
    ODDITIES = "syncfleet_oddities_total", Counter, ["flow", "kind"], "What runs came upon that somebody should look at, though they succeeded; each run counts it again.";
    UPSTREAM_REQUESTS = "syncfleet_upstream_requests_total", Counter, ["system", "operation", "outcome"], "Requests to upstream systems by outcome.";
    UPSTREAM_REQUEST_DURATION = "syncfleet_upstream_request_duration_seconds", Histogram, ["system", "operation"], "Time from sending a request to having read its answer.";
    UPSTREAM_BREAKER_OPEN = "syncfleet_upstream_breaker_open", Gauge, ["system"], "1 while requests to the system are held back because it failed.";
    LIMITS_LOCAL = "syncfleet_limits_local", Gauge, ["system"], "1 while the state store does not answer, and this process keeps to its share of an account's limits.";
    LIMITER_WAIT = "syncfleet_limiter_wait_seconds", Histogram, ["system"], "Time requests waited for the system's limits.";
    TOKEN_REFRESHES = "syncfleet_token_refreshes_total", Counter, ["system", "outcome"], "Access tokens asked for, by outcome.";
    ACCOUNT_PAUSED = "syncfleet_account_paused", Gauge, ["system"], "1 while a system's account is paused: its credentials are refused or locked out.";
    WEBHOOKS = "syncfleet_webhook_requests_total", Counter, ["flow", "outcome"], "Webhook requests by how they were answered.";
    WEBHOOK_ITEMS = "syncfleet_webhook_items_total", Counter, ["flow", "outcome"], "Items of webhook requests: published, spooled, duplicate, echo, or malformed.";
    SPOOL_MESSAGES = "syncfleet_spool_messages", Gauge, ["flow"], "Messages that wait in this producer's spool for the broker.";
    SPOOL_OLDEST = "syncfleet_spool_oldest_message_timestamp_seconds", Gauge, ["flow"], "When the oldest message of the spool came; 0 when none waits.";
    SPOOL_BYTES = "syncfleet_spool_bytes", Gauge, [], "Bytes of the spool's files; what was drained leaves room in them for new messages.";
    SPOOLED = "syncfleet_spool_messages_total", Counter, ["flow", "outcome"], "Messages that came to the spool or left it: spooled, drained, or refused.";
    LAST_EVENT = "syncfleet_last_event_timestamp_seconds", Gauge, ["flow"], "When the last event arrived from the source; 0 before the first.";
    CALENDARS_SILENT = "syncfleet_calendars_silent", Gauge, ["flow"], "Calendars that had no news for flow.calendar.nothing_arrived_after_seconds, as of the last sweep.";
    SWEEP_DURATION = "syncfleet_sweep_duration_seconds", Histogram, ["flow"], "Time a sweep took.";
    SWEEP_LAST_SUCCESS = "syncfleet_sweep_last_success_timestamp_seconds", Gauge, ["flow"], "When the last sweep ended well; 0 before the first.";
    SWEEP_KEYS = "syncfleet_sweep_keys_total", Counter, ["flow", "outcome"], "Records that sweeps found: published or skipped.";
    MASS_CHANGE_GUARD = "syncfleet_mass_change_guard_tripped", Gauge, ["flow"], "1 while a sweep's changes wait for a person's release.";
    ACCOUNTS = "syncfleet_accounts", Gauge, ["provider", "state"], "Connected accounts: active, needs_reconnect (a person must connect it again), or unreadable.";
    GRANTS_END_SOON = "syncfleet_grants_end_soon", Gauge, ["provider"], "Accounts whose grant ends soon by itself, since it is not used or its time is over.";
    CLIENT_SECRET_EXPIRES = "syncfleet_client_secret_expires_timestamp_seconds", Gauge, ["provider"], "When the application's secret at the provider ends; 0 where that is not known.";
    CONNECT_REQUESTS = "syncfleet_connect_requests_total", Counter, ["provider", "outcome"], "Requests of browsers that connect an account: begun, connected, or why not.";
    LEADER = "syncfleet_leader", Gauge, [], "1 in the producer that fires the sweeps.";
    SHARDS_SERVED = "syncfleet_shards_served", Gauge, ["flow"], "Shards that this worker consumes now.";
    LEASES_LOST = "syncfleet_leases_lost_total", Counter, ["flow"], "Leases that ended before their holder released them.";
    QUEUE_CONNECTED = "syncfleet_queue_connected", Gauge, [], "1 while the queue answers.";
    STATE_CONNECTED = "syncfleet_state_connected", Gauge, [], "1 while the state store answers.";
    STORE_LOST = "syncfleet_store_lost", Gauge, [], "1 while the state store is not the one it was (emptied, or an older copy): the fleet pauses until a person releases it.";
    BUILD_INFO = "syncfleet_build_info", Gauge, ["version"], "Always 1; the label is the version.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_prometheus_conventions() {
        let mut seen = std::collections::BTreeSet::new();
        for metric in ALL {
            assert!(seen.insert(metric.name), "{} stands twice", metric.name);
            assert!(metric.name.starts_with("syncfleet_"), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Counter, "{}", metric.name);
            assert_eq!(
                metric.kind == Histogram,
                metric.name.ends_with("_seconds") && !metric.name.ends_with("_timestamp_seconds"),
                "{}",
                metric.name
            );
        }
    }
}
