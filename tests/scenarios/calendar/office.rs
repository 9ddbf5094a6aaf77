//! The systems with their people, before anybody has written anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use shared::clock::{Clock as _, ManualClock};
use simulators::espocrm::{Account, AccountKind, Credential, Role};
use simulators::google::{Consent, GoogleUser};
use simulators::microsoft::Mailbox;
use simulators::{
    Clock, EspocrmOptions, EspocrmSimulator, GoogleOptions, GoogleSimulator, Hosting, MicrosoftOptions,
    MicrosoftSimulator,
};

use super::affairs::{Calendar, User, contact_mail};
use super::object;
use super::people::Office;
use super::says::Provider;
use super::script::CONTACTS;

fn hosting(clock: &Arc<ManualClock>) -> Hosting {
    let clock = Arc::clone(clock);
    Hosting { clock: Clock::from_fn(move || clock.now()), ..Hosting::default() }
}

fn user(number: usize) -> User {
    User { crm_id: format!("6b00522a{number:09x}"), mail: format!("person{number}@kanzlei.example") }
}

/// The calendars of a user: half of them have Outlook, half Google, some both.
fn calendars_of(number: usize, user: &User) -> Vec<Calendar> {
    let calendar = |provider: Provider, mail: String| Calendar {
        user: number,
        provider,
        mail,
        key: format!("{}.{}", provider.name(), user.crm_id),
        is_connected: false,
        is_away: false,
    };
    let (first, second) = match number.is_multiple_of(2) {
        true => (Provider::Microsoft, Provider::Google),
        false => (Provider::Google, Provider::Microsoft),
    };
    let mut calendars = vec![calendar(first, user.mail.clone())];
    if number % 5 == 4 {
        calendars.push(calendar(second, format!("person{number}@privat.example")));
    }
    calendars
}

fn account(user: &User, number: usize) -> Account {
    Account {
        id: user.crm_id.clone(),
        user_name: format!("person{number}"),
        first_name: Some("Petra".to_owned()),
        last_name: format!("Person{number}"),
        email: Some(user.mail.clone()),
        title: None,
        kind: AccountKind::Regular,
        credential: Credential::Password(format!("password-{number}")),
        is_active: true,
        role: Role::sync(),
    }
}

impl Office {
    pub async fn open(users: usize, seed: u64, clock: &Arc<ManualClock>) -> Self {
        let users: Vec<User> = (0..users).map(user).collect();
        let calendars: Vec<Calendar> =
            users.iter().enumerate().flat_map(|(number, user)| calendars_of(number, user)).collect();
        let mut options = EspocrmOptions { hosting: hosting(clock), ..EspocrmOptions::default() };
        options.accounts.extend(users.iter().enumerate().map(|(number, user)| account(user, number)));
        let lead = json!({ "create": "yes", "read": "all", "edit": "all", "delete": "all" });
        for account in &mut options.accounts {
            account.role.scopes.insert("Lead".to_owned(), lead.clone());
        }
        let crm = EspocrmSimulator::start(options).await.unwrap();
        let of = |provider: Provider| calendars.iter().filter(move |it| it.provider == provider);
        let microsoft = MicrosoftSimulator::start(MicrosoftOptions {
            hosting: hosting(clock),
            mailboxes: of(Provider::Microsoft).map(|it| Mailbox::new(&it.mail, &it.mail)).collect(),
            seed,
            loop_requests_max: 1_000,
            ..MicrosoftOptions::default()
        });
        let google = GoogleSimulator::start(GoogleOptions {
            hosting: hosting(clock),
            users: of(Provider::Google).map(|it| GoogleUser::new(&it.mail)).collect(),
            consent: Consent::AtOnce,
            plain_http_channels: true,
            ..GoogleOptions::default()
        });
        let (microsoft, google) = (microsoft.await.unwrap(), google.await.unwrap());
        let contact = |number: usize| {
            let mail = contact_mail(number);
            let fields =
                json!({ "firstName": "Karl", "lastName": format!("Kontakt{number}"), "emailAddress": mail });
            crm.seed_of("Contact", object(fields)).unwrap()
        };
        let contacts = (0..CONTACTS).map(contact).collect();
        let (crm, microsoft, google) = (Arc::new(crm), Arc::new(microsoft), Arc::new(google));
        Self { crm, microsoft, google, users, calendars, contacts, affairs: Vec::new() }
    }

    /// Counts the requests of clients so far, by endpoint; those for tokens aside.
    pub fn counting(&self) -> impl Fn() -> BTreeMap<String, u64> + Send + use<> {
        let (crm, microsoft, google) =
            (Arc::clone(&self.crm), Arc::clone(&self.microsoft), Arc::clone(&self.google));
        move || {
            let mut all = crm.counters();
            all.extend(microsoft.counters());
            all.extend(google.counters());
            all.retain(|name, _| !name.contains("oauth"));
            all
        }
    }
}
