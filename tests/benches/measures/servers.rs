//! RabbitMQ and Redis of the measures, and the settings that both contenders read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use adapter_rabbitmq::names::Names;
use assembly::Role;
use configuration::{Config, QueueBacking};
use secrecy::ExposeSecret as _;
use shared::clock::SystemClock;
use shared::meter::NoMeter;
use shared::ports::queue::Queue;
use system_tests::supervise::Folder;
use system_tests::{Rabbitmq, Redis};

use crate::flow;

const NAMESPACE: &str = "bench";

/// The servers. They end with the value.
pub struct Servers {
    pub rabbitmq: Rabbitmq,
    pub redis: Redis,
    folder: Folder,
}

impl Servers {
    /// Starts both, and declares the queues of the flow.
    pub async fn start() -> Self {
        let servers = Self {
            rabbitmq: Rabbitmq::start().await.unwrap(),
            redis: Redis::start().await.unwrap(),
            folder: Folder::new("bench").unwrap(),
        };
        let password = servers.folder.join("password");
        std::fs::write(&password, "guest").unwrap();
        let settings = format!(
            "[queue]\nkind = \"rabbitmq\"\n\
             [queue.rabbitmq]\nurl = {:?}\npassword = \"file:{}\"\nnamespace = \"{NAMESPACE}\"\n\
             [state]\nkind = \"redis\"\n[state.redis]\nurl = {:?}\nnamespace = \"{NAMESPACE}\"\n\
             [worker]\nmember_seconds = 3\n[producer]\nwebhook_listen = \"\"\n[operations]\nlisten = \"\"\n",
            servers.rabbitmq.url().replace(":guest@", "@"),
            password.display(),
            servers.redis.url(),
        );
        std::fs::write(servers.settings(), settings).unwrap();
        servers.queue().prepare(&[flow::topology()]).await.unwrap();
        servers
    }

    /// The file of settings.
    pub fn settings(&self) -> PathBuf {
        self.folder.join("syncfleet.toml")
    }

    /// A file of this name beside the settings.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The product's queue, as a producer has it.
    pub fn queue(&self) -> Arc<dyn Queue> {
        let config = load(&self.settings());
        assembly::build(&config, Role::Visiting, Arc::new(NoMeter), Arc::new(SystemClock)).unwrap().queue
    }
}

/// Reads the settings, and those of the environment.
pub fn load(file: &Path) -> Config {
    Config::load(Some(file), configuration::environment()).unwrap()
}

/// The broker's address with password, and the names in it.
pub fn broker(config: &Config) -> (String, Names) {
    let QueueBacking::RabbitMq(settings) = &config.queue else { unreachable!("the settings name RabbitMQ") };
    (settings.url_with_password().expose_secret().to_owned(), Names::new(settings.namespace.clone()))
}
