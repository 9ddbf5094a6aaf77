//! Translates the client library's errors to the port's.

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use shared::ports::PortError;

/// What went wrong with `doing` at `address`, as the port's error.
pub(crate) fn port_error(address: &str, doing: &str, error: &lapin::Error) -> PortError {
    let ErrorKind::ProtocolError(amqp) = error.kind() else {
        return PortError::Unavailable(format!(
            "RabbitMQ at {address} does not answer ({doing}: {error}); it is tried again"
        ));
    };
    let text = amqp.get_message();
    match amqp.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) if text.as_str().contains(" no ") => {
            PortError::Misconfigured(format!(
                "RabbitMQ at {address}: {doing}: {text}. Queues and exchanges are declared when a producer or \
                 worker starts: start one with this namespace, and look whether somebody deleted them"
            ))
        }
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => PortError::Unavailable(format!(
            "RabbitMQ at {address} does not have it ready: {doing}: {text}. It is tried again. Where it stays so: \
             start the node that is down; or, for a stream on a single node that was killed just after it was set \
             up, delete the stream (rabbitmqctl delete_queue), and it is declared anew"
        )),
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => PortError::Misconfigured(format!(
            "RabbitMQ at {address} refuses: {doing}: {text}. Look at the user's password and its permissions on \
             the virtual host (configure, write, read)"
        )),
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => {
            PortError::Misconfigured(format!("RabbitMQ at {address}: {doing}: {text}"))
        }
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED | AMQPHardError::NOTIMPLEMENTED) => {
            PortError::Misconfigured(format!(
                "RabbitMQ at {address}: {doing}: {text}. Look at the virtual host in the URL and the broker's \
                 version (3.10 to 4.x)"
            ))
        }
        AMQPErrorKind::Soft(_) | AMQPErrorKind::Hard(_) => PortError::Unavailable(format!(
            "RabbitMQ at {address} gave up: {doing}: {text}; it is tried again"
        )),
    }
}

/// The broker did not answer in time.
pub(crate) fn timed_out(address: &str, doing: &str) -> PortError {
    PortError::Unavailable(format!(
        "RabbitMQ at {address} did not answer in time ({doing}); it is tried again"
    ))
}

/// The broker's text when it refused a declaration because something else is there.
pub(crate) fn mismatch(error: &lapin::Error) -> Option<String> {
    let ErrorKind::ProtocolError(amqp) = error.kind() else { return None };
    let kind = AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED);
    (*amqp.kind() == kind).then(|| amqp.get_message().to_string())
}

/// Whether the broker has no such thing.
pub(crate) fn is_missing(error: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(amqp) = error.kind() else { return false };
    let kind = AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND);
    *amqp.kind() == kind && amqp.get_message().as_str().contains(" no ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::protocol::AMQPError;

    fn check(kind: AMQPErrorKind, text: &str, expected: fn(String) -> PortError, part: &str) {
        let error = lapin::Error::from(ErrorKind::ProtocolError(AMQPError::new(kind, text.into())));
        let translated = port_error("amqp://broker:5672//", "consuming parties.003", &error);
        assert_eq!(translated, expected(translated.to_string()));
        assert!(translated.to_string().contains(part), "{translated}");
    }

    #[test]
    fn a_person_must_act_where_waiting_does_not_help() {
        let soft = AMQPErrorKind::Soft;
        check(
            soft(AMQPSoftError::NOTFOUND),
            "NOT_FOUND - no queue 'q'",
            PortError::Misconfigured,
            "start one",
        );
        check(soft(AMQPSoftError::NOTFOUND), "NOT_FOUND - down", PortError::Unavailable, "tried again");
        check(soft(AMQPSoftError::ACCESSREFUSED), "ACCESS_REFUSED", PortError::Misconfigured, "permissions");
        let hard = AMQPErrorKind::Hard;
        check(hard(AMQPHardError::NOTALLOWED), "vhost x not found", PortError::Misconfigured, "virtual host");
        check(hard(AMQPHardError::CONNECTIONFORCED), "shutdown", PortError::Unavailable, "shutdown");
    }
}
