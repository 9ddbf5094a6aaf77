//! Grants against a token server and a state store that do as they are told.

mod connecting;
mod doubles;
mod refreshing;
mod resealing;
mod server;

use std::sync::Arc;
use std::time::Duration;

use http_client::Limits;
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use shared::clock::{Clock, ManualClock};
use shared::meter::NoMeter;
use shared::ports::state::{Expected, State};
use url::Url;
use uuid::Uuid;

use crate::grant::Grant;
use crate::grant::tests::tokens;
use crate::provider::tests::registration;
use crate::{
    AccessError, AccountId, Accounts, AccountsSettings, Key, KeySource, Provider, Rotation, Secrets, Waits,
    default_limits,
};
use doubles::MemoryState;
use server::TokenServer;

const HOUR: Duration = Duration::from_secs(3_600);

/// A fleet in one process: what its members share, and a provider.
struct Bench {
    state: Arc<MemoryState>,
    clock: Arc<ManualClock>,
    server: TokenServer,
    key: secrecy::SecretString,
}

impl Bench {
    async fn new() -> Self {
        let start: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
        Self {
            state: Arc::default(),
            clock: Arc::new(ManualClock::new(start)),
            server: TokenServer::start().await,
            key: Key::generate(),
        }
    }

    fn secrets(&self) -> Secrets {
        let key = Key::parse(&self.key, "test").unwrap();
        Secrets::new(self.state.clone(), KeySource::Given(key), vec![])
    }

    fn provider(&self) -> Provider {
        let authority = Url::parse(&self.server.url).unwrap();
        Provider::microsoft(&authority, "contoso.example", registration()).unwrap()
    }

    /// A member of the fleet.
    fn member(&self) -> Accounts {
        self.member_with(self.provider(), Waits { poll: Duration::from_millis(5), ..Waits::default() })
    }

    fn member_with(&self, provider: Provider, waits: Waits) -> Accounts {
        let limits = Limits { requests_per_second_max: 1_000, ..default_limits() };
        Accounts::new(AccountsSettings {
            secrets: self.secrets(),
            providers: vec![(provider, limits)],
            waits,
            meter: Arc::new(NoMeter),
            clock: self.clock.clone(),
        })
        .unwrap()
    }

    /// An account whose token lives for an hour from now.
    async fn connected(&self, member: &Accounts, user: &str) -> AccountId {
        let account: AccountId = format!("microsoft/user/{user}").parse().unwrap();
        let refresh = format!("refresh-of-{user}");
        self.server.with(|it| it.refresh_tokens.insert(refresh.clone()));
        let tokens = tokens(&format!("access-of-{user}"), Some(&refresh), 3_600);
        let scopes = self.provider().scopes;
        let grant = Grant::new(account.clone(), Uuid::new_v4(), &tokens, &scopes, self.clock.now());
        member.0.put(&grant, Expected::Any).await.unwrap();
        account
    }

    /// Each member asks once, so that the provider's limits know them all: the first request of a process goes out
    /// alone.
    async fn warmed_up(&self, members: &[Accounts], account: &AccountId) {
        for member in members {
            self.clock.advance(2 * HOUR);
            token(member, account).await.unwrap();
        }
        self.clock.advance(2 * HOUR);
    }

    async fn grant(&self, member: &Accounts, account: &AccountId) -> Grant {
        member.0.read(account).await.unwrap().unwrap().0
    }
}

fn revoking(provider: Provider) -> Provider {
    Provider { rotation: Rotation::OldDies, ..provider }
}

async fn token(member: &Accounts, account: &AccountId) -> Result<String, AccessError> {
    member.access_token(account).await.map(|token| token.expose_secret().to_owned())
}
