//! `up`: producer and worker in one process.

use std::path::Path;
use std::process::ExitCode;

use assembly::Role;
use assembly::program::{EXIT_UNAVAILABLE, init_logs, load_configuration, start, stop_on_signals};
use configuration::{Config, QueueBacking, StateBacking};
use operations::health::Health;

use crate::fleet::{Fleet, PrivateListener};
use crate::output::{self, EXIT_WRONG, Outcome, fail};

/// Runs until SIGTERM or Ctrl-C.
pub async fn run(file: Option<&Path>) -> Outcome {
    let config = load_configuration(file)?;
    init_logs(&config);
    let (parts, meter) = start(&config, Role::Serving)?;
    let webhooks = producer::program::listen(&config).await.map_err(|why| fail(EXIT_UNAVAILABLE, why))?;
    let private = match config.operations.listen {
        Some(address) => Some(PrivateListener::bind(address).await?),
        None => None,
    };
    let (health, stop) = (Health::default(), stop_on_signals());
    output::line(introduction(
        &config,
        &parts.flows.iter().map(|f| f.spec().name.to_string()).collect::<Vec<_>>(),
    ));
    let private = private.map(|listener| PrivateListener::serve(listener, meter, health.clone()));
    let well = Fleet::start(&config, &parts, &health, webhooks, &stop).ended().await;
    if let Some(private) = private {
        private.stop().await;
    }
    if well { Ok(ExitCode::SUCCESS) } else { Err(ExitCode::from(EXIT_WRONG)) }
}

/// What runs, and where it can be reached.
fn introduction(config: &Config, flows: &[String]) -> String {
    let dir = config.embedded.dir.display();
    let queue = match &config.queue {
        QueueBacking::Embedded => format!("embedded, in {dir}"),
        QueueBacking::RabbitMq(settings) => format!("RabbitMQ at {}", settings.url),
    };
    let state = match &config.state {
        StateBacking::Embedded => format!("embedded, in {dir}"),
        StateBacking::Redis(settings) => format!("Redis at {}", settings.url),
    };
    let flows = match flows {
        [] => "none is enabled: see [flow.…] in `syncfleet config default`".to_owned(),
        flows => flows.join(", "),
    };
    let webhooks = config
        .producer
        .webhook_listen
        .map_or_else(|| "switched off".to_owned(), |at| format!("http://{at}/webhooks/<flow>/…"));
    let metrics = config
        .operations
        .listen
        .map_or_else(|| "switched off".to_owned(), |at| format!("http://{at}/metrics (/healthz, /readyz)"));
    let rows =
        [("flows", flows), ("queue", queue), ("state", state), ("webhooks", webhooks), ("metrics", metrics)];
    output::table(["", ""], rows.map(|(what, value)| [what.to_owned(), value]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_introduction_says_where_everything_is() {
        let config = Config::from_text("test.toml", "operations.listen = \"\"", []).unwrap();
        insta::assert_snapshot!(introduction(&config, &["parties".to_owned()]), @r"
        flows     parties
        queue     embedded, in syncfleet-data
        state     embedded, in syncfleet-data
        webhooks  http://0.0.0.0:8080/webhooks/<flow>/…
        metrics   switched off
        ");
        assert!(introduction(&config, &[]).contains("none is enabled"));
    }
}
