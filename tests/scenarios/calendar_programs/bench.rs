//! An installation with calendars: the systems with their people, a file of settings, the real programs, a browser.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use shared::clock::{Clock as _, SystemClock};
use simulators::espocrm::{ADMIN_PASSWORD, API_KEY, Account, PERSON_ID};
use simulators::google::GoogleUser;
use simulators::microsoft::{CLIENT_ID, CLIENT_SECRET};
use simulators::{
    EspocrmOptions, EspocrmSimulator, GoogleOptions, GoogleSimulator, MicrosoftOptions, MicrosoftSimulator,
};
use system_tests::http::Http;
use system_tests::supervise::Folder;
use system_tests::{Backing, Kind, Member, unique_name, wait};
use vault::Key;

use crate::programs::{complained, json_of, printed, syncfleet};
use crate::{SOON, object};

/// A sweep every three seconds.
pub const OFTEN: &str = "*/3 * * * * *";
/// How often the systems tell their news.
const NEWS_INTERVAL: Duration = Duration::from_millis(100);
const SHOWN_LINES: usize = 150;
const BERND_ID: &str = "6b00522a000000002";
const ANNA_MAIL: &str = "anna@kanzlei.example";
const BERND_MAIL: &str = "bernd@kanzlei.example";
/// How every token of the simulated providers begins.
const TOKEN_MARKS: [&str; 3] = ["eyJ0eXAi", "ya29.a0", "1//0"];

/// Somebody with calendars.
#[derive(Debug, Clone, Copy)]
pub struct Person {
    /// The CRM user.
    pub id: &'static str,
    /// The mailbox, at either provider.
    pub mail: &'static str,
}

pub const ANNA: Person = Person { id: PERSON_ID, mail: ANNA_MAIL };
pub const BERND: Person = Person { id: BERND_ID, mail: BERND_MAIL };

/// What is shown somewhere: what it is called, and when it begins.
pub type Shown = (String, Timestamp);

/// The day of all that people plan, in UTC: tomorrow, and still the same one when midnight passes meanwhile.
static DAY: LazyLock<Date> =
    LazyLock::new(|| SystemClock.now().to_zoned(TimeZone::UTC).date().tomorrow().unwrap());

/// That hour of the day of all that people plan.
pub fn at(hour: i8) -> Timestamp {
    DAY.at(hour, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp()
}

fn wall(at: Timestamp) -> DateTime {
    at.to_zoned(TimeZone::UTC).datetime()
}

fn instant(wall: &str) -> Timestamp {
    let wall = wall.split('.').next().unwrap().replace(' ', "T");
    wall.parse::<DateTime>().unwrap().to_zoned(TimeZone::UTC).unwrap().timestamp()
}

fn sorted(shown: impl Iterator<Item = Shown>) -> Vec<Shown> {
    let mut shown: Vec<Shown> = shown.collect();
    shown.sort();
    shown
}

/// What nothing may print.
fn secrets(key: &str) -> Vec<(&'static str, String)> {
    vec![
        ("microsoft", CLIENT_SECRET.to_owned()),
        ("google", GoogleOptions::default().client_secret),
        ("espocrm-key", API_KEY.to_owned()),
        ("admin", ADMIN_PASSWORD.to_owned()),
        ("vault", key.to_owned()),
    ]
}

pub struct Bench {
    pub folder: Folder,
    pub crm: EspocrmSimulator,
    pub microsoft: MicrosoftSimulator,
    pub google: GoogleSimulator,
    pub members: Vec<Member>,
    pub http: Http,
    browser: reqwest::Client,
    /// Where the first program takes what comes from outside.
    pub public_url: String,
}

impl Bench {
    /// The systems with their people and the programs; nothing is provisioned or started yet.
    #[expect(clippy::disallowed_methods, reason = "the test is a browser")]
    pub async fn new(backing: &Backing, kinds: &[Kind], sweep_cron: &str) -> Self {
        let http = Http::new().unwrap();
        let mut members: Vec<Member> =
            kinds.iter().enumerate().map(|(at, kind)| Member::new(*kind, at + 1).unwrap()).collect();
        let public_url = members[0].webhook_url().unwrap();
        let redirect = |provider: &str| vec![format!("{public_url}/connect/{provider}/callback")];
        let mut options = EspocrmOptions {
            webhook_interval: Some(NEWS_INTERVAL),
            webhook_retry_delay: Duration::from_secs(2),
            ..EspocrmOptions::default()
        };
        options.accounts.push(Account::person(BERND_ID, "bernd", "Bernd", "Bär", BERND_MAIL));
        let crm = EspocrmSimulator::start(options).await.unwrap();
        let options = MicrosoftOptions {
            redirect_uris: redirect("microsoft"),
            notification_interval: Some(NEWS_INTERVAL),
            ..MicrosoftOptions::default()
        };
        let microsoft = MicrosoftSimulator::start(options).await.unwrap();
        let options = GoogleOptions {
            redirect_uris: redirect("google"),
            users: vec![GoogleUser::new(BERND_MAIL)],
            consent: simulators::google::Consent::AtOnce,
            push_interval: Some(NEWS_INTERVAL),
            plain_http_channels: true,
            ..GoogleOptions::default()
        };
        let google = GoogleSimulator::start(options).await.unwrap();
        let folder = Folder::new("calendar").unwrap();
        let secrets = secrets(Key::generate().expose_secret());
        for (name, secret) in &secrets {
            let path = folder.join(name);
            std::fs::write(&path, secret).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        for member in &mut members {
            member.configure(folder.path(), &[], &[]);
            let watched = secrets.iter().map(|(_, secret)| secret.as_str()).chain(TOKEN_MARKS);
            member.change(|program| watched.fold(program, |program, secret| program.watch_for(secret)));
        }
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let bench = Self { folder, crm, microsoft, google, members, http, browser, public_url };
        bench.write_settings(
            sweep_cron,
            &backing.settings(&unique_name("calendar"), bench.folder.path()).unwrap(),
        );
        bench
    }

    fn write_settings(&self, sweep_cron: &str, backing: &str) {
        let secret = |name: &str| format!("\"file:{}\"", self.folder.join(name).display());
        let settings = format!(
            r#"{backing}
[vault]
key = {vault}
[worker]
lease_seconds = 3
member_seconds = 3
drain_seconds = 10
[producer]
lease_seconds = 3
drain_seconds = 10
[accounts]
public_url = "{public_url}"
[provider.microsoft]
client_id = "{CLIENT_ID}"
client_secret = {microsoft_secret}
authority_url = "{microsoft}"
api_url = "{microsoft}/v1.0"
[provider.google]
client_id = "{google_id}"
client_secret = {google_secret}
authorize_url = "{google}/o/oauth2/v2/auth"
token_url = "{google}/token"
revoke_url = "{google}/revoke"
api_url = "{google}/calendar/v3"
[connector.espocrm]
url = "{crm}"
api_key = {key}
[provision.espocrm]
admin_user = "admin"
admin_password = {admin}
webhook_url = "{public_url}"
[flow.calendar]
enabled = true
sweep_cron = "{sweep_cron}"
retry_delay_initial_seconds = 0.2
retry_delay_max_seconds = 2.0
"#,
            vault = secret("vault"),
            public_url = self.public_url,
            microsoft_secret = secret("microsoft"),
            microsoft = self.microsoft.base_url(),
            google_id = GoogleOptions::default().client_id,
            google_secret = secret("google"),
            google = self.google.base_url(),
            crm = self.crm.base_url(),
            key = secret("espocrm-key"),
            admin = secret("admin"),
        );
        std::fs::write(self.folder.join("syncfleet.toml"), settings).unwrap();
    }

    /// Starts all programs, and waits until each says that it is ready.
    pub async fn start(&mut self) {
        for member in &mut self.members {
            member.start().unwrap();
        }
        for member in &self.members {
            let address = format!("{}/readyz", member.private_url());
            wait::until(&format!("readiness of {}", member.name()), SOON, async || {
                match self.http.get(&address).await {
                    Ok(answer) if answer.status == 200 => Ok(()),
                    other => Err(other),
                }
            })
            .await;
        }
    }

    /// Lets all programs end in their own way.
    pub async fn drain(&mut self) {
        for member in &mut self.members {
            member.drain().await.unwrap();
        }
    }

    /// An operator's command that ends well, and what it prints.
    pub async fn said(&self, args: &[&str]) -> String {
        let output = syncfleet(self.folder.path(), args).await;
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}{}", printed(&output), complained(&output));
        printed(&output)
    }

    pub async fn status(&self) -> Value {
        json_of(&syncfleet(self.folder.path(), &["status", "--json"]).await)
    }

    /// Opens the link that the operator sent, and agrees.
    pub async fn connect(&self, provider: &str, person: Person) {
        self.microsoft.set_consent(simulators::microsoft::Consent::As(person.mail.to_owned()));
        let link = self.said(&["accounts", "connect", provider, person.id]).await;
        let begun = self.browser.get(link.trim()).send().await.unwrap();
        let header = |answer: &reqwest::Response, name: &str| {
            answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
        };
        let cookie = header(&begun, "set-cookie").unwrap();
        let at_provider = self.browser.get(header(&begun, "location").unwrap()).send().await.unwrap();
        let back = header(&at_provider, "location").unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let answer = self.browser.get(back).header("Cookie", cookie).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{}", answer.text().await.unwrap());
    }

    /// A handshake with an address: status, type, whether that type may be guessed, and text of the answer.
    pub async fn shake_hands(&self, address: &str, token: &str) -> (u16, String, String, String) {
        let url = reqwest::Url::parse_with_params(address, [("validationToken", token)]).unwrap();
        let answer = self.browser.post(url).send().await.unwrap();
        let header =
            |name: &str| text(&json!(answer.headers().get(name).map(|value| value.to_str().unwrap())));
        let (status, kind, guessed) =
            (answer.status().as_u16(), header("content-type"), header("x-content-type-options"));
        (status, kind, guessed, answer.text().await.unwrap())
    }

    /// A person makes an event of an hour at Outlook.
    pub fn event_at_outlook(&self, person: Person, subject: &str, start: Timestamp) -> String {
        let mut event = outlook_times(start);
        event.extend(object(json!({ "mailbox": person.mail, "subject": subject })));
        self.microsoft.create_as_person(&event).unwrap()
    }

    /// A person makes an event of an hour at Google.
    pub fn event_at_google(&self, person: Person, subject: &str, start: Timestamp) -> String {
        let mut event = google_times(start);
        event.extend(object(json!({ "calendarId": person.mail, "summary": subject })));
        self.google.create_as_person(&event).unwrap()
    }

    /// A person makes a meeting or a call of an hour in the CRM.
    pub fn record_at_espocrm(&self, entity: &str, people: &[Person], name: &str, start: Timestamp) -> String {
        let ids: Vec<&str> = people.iter().map(|person| person.id).collect();
        let mut record = crm_times(start);
        record.extend(object(json!({
            "name": name, "status": "Planned", "assignedUserId": ids[0], "usersIds": ids,
        })));
        self.crm.create_as(ids[0], entity, &record).unwrap()
    }

    /// The meetings and calls of the CRM.
    pub fn in_crm(&self) -> Vec<Shown> {
        let all = ["Meeting", "Call"].into_iter().flat_map(|entity| self.crm.records_of(entity));
        let alive = all.filter(|record| record["deleted"] != json!(true));
        sorted(alive.map(|record| (text(&record["name"]), instant(&text(&record["dateStart"])))))
    }

    /// The events of a mailbox at Outlook.
    pub fn in_outlook(&self, person: Person) -> Vec<Shown> {
        let all = self.microsoft.records().into_iter().filter(|event| event["mailbox"] == person.mail);
        let events = all.filter(|record| record.get("subject").is_some());
        let shown = |event: Value| (text(&event["subject"]), instant(&text(&event["start"]["dateTime"])));
        sorted(events.map(shown))
    }

    /// The events of a calendar at Google.
    pub fn in_google(&self, person: Person) -> Vec<Shown> {
        let all = self.google.records().into_iter().filter(|event| event["calendarId"] == person.mail);
        let events = all.filter(|event| event["status"] != "cancelled");
        let start = |event: &Value| text(&event["start"]["dateTime"]).parse::<Timestamp>().unwrap();
        sorted(events.map(|event| (text(&event["summary"]), start(&event))))
    }

    /// What all that is there is called, so that none of it stands in a log.
    pub fn names(&self) -> Vec<String> {
        let meetings = ["Meeting", "Call"].into_iter().flat_map(|entity| self.crm.records_of(entity));
        meetings.map(|record| text(&record["name"])).collect()
    }

    /// What Google's channels prove themselves with.
    pub fn channel_tokens(&self) -> Vec<String> {
        let made = self.google.journal().into_iter().filter(|entry| entry.entity == "Channel");
        made.filter_map(|entry| Some(text(&entry.after?["token"]))).collect()
    }

    /// The last lines of all programs, for a test that fails.
    pub fn logs(&self) -> String {
        let tail = |member: &Member| {
            let log = member.log();
            let skipped = log.lines().count().saturating_sub(SHOWN_LINES);
            let lines = log.lines().skip(skipped).map(|line| format!("{}: {line}\n", member.name()));
            lines.collect::<String>()
        };
        self.members.iter().map(tail).collect()
    }

    /// Nobody got mail, and the vendors know every request.
    pub fn assert_quiet(&self) {
        assert_eq!(self.microsoft.mails_by_clients(), Vec::<Value>::new());
        assert_eq!(self.google.mails_by_clients(), Vec::new());
        assert_eq!(self.microsoft.outside_description(), Vec::<Value>::new());
        assert_eq!(self.google.outside_description(), Vec::new());
    }

    /// No program printed a secret or what a record holds.
    pub fn assert_discreet(&self) {
        for member in &self.members {
            assert_eq!(member.printed(), std::collections::BTreeSet::new(), "{}", member.name());
            let log = member.log();
            for text in self.names().into_iter().chain(self.channel_tokens()) {
                assert!(!log.contains(&text), "{} prints {text}", member.name());
            }
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn hour_later(start: Timestamp) -> Timestamp {
    start + jiff::SignedDuration::from_hours(1)
}

/// When an event of an hour is, as Outlook has it.
pub fn outlook_times(start: Timestamp) -> simulators::Record {
    let at = |at: Timestamp| json!({ "dateTime": wall(at).to_string(), "timeZone": "UTC" });
    object(json!({ "start": at(start), "end": at(hour_later(start)) }))
}

/// The same, as Google has it.
pub fn google_times(start: Timestamp) -> simulators::Record {
    let at = |at: Timestamp| json!({ "dateTime": at.to_string(), "timeZone": "UTC" });
    object(json!({ "start": at(start), "end": at(hour_later(start)) }))
}

/// The same, as EspoCRM has it.
pub fn crm_times(start: Timestamp) -> simulators::Record {
    let at = |at: Timestamp| json!(wall(at).strftime("%Y-%m-%d %H:%M:%S").to_string());
    object(json!({ "dateStart": at(start), "dateEnd": at(hour_later(start)) }))
}
