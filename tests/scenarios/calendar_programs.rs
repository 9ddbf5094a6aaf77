//! Calendars by the real programs: provisioned, connected in a browser, edited on both sides, with `kill -9` in between.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use shared::clock::{Clock as _, SystemClock};
use simulators::espocrm::{ADMIN_PASSWORD, API_KEY, PERSON_ID};
use simulators::microsoft::{CLIENT_ID, CLIENT_SECRET, Consent};
use simulators::{EspocrmOptions, EspocrmSimulator, MicrosoftOptions, MicrosoftSimulator};
use system_tests::ports::free_port;
use system_tests::supervise::Folder;
use system_tests::{Program, RunningProgram, wait};
use vault::Key;

use crate::programs::{complained, json_of, printed, syncfleet};
use crate::{SOON, object};

const MAIL: &str = "anna@kanzlei.example";

/// Days are taken in UTC.
fn tomorrow() -> jiff::civil::Date {
    SystemClock.now().to_zoned(jiff::tz::TimeZone::UTC).date().tomorrow().unwrap()
}

struct Bench {
    folder: Folder,
    crm: EspocrmSimulator,
    microsoft: MicrosoftSimulator,
    port: u16,
    browser: reqwest::Client,
}

impl Bench {
    #[expect(clippy::disallowed_methods, reason = "the test is a browser")]
    async fn new() -> Self {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let [port, private] = [free_port().unwrap(), free_port().unwrap()];
        let options = EspocrmOptions {
            webhook_interval: Some(Duration::from_millis(100)),
            webhook_retry_delay: Duration::from_secs(2),
            ..EspocrmOptions::default()
        };
        let crm = EspocrmSimulator::start(options).await.unwrap();
        let options = MicrosoftOptions {
            redirect_uris: vec![format!("http://127.0.0.1:{port}/connect/microsoft/callback")],
            ..MicrosoftOptions::default()
        };
        let microsoft = MicrosoftSimulator::start(options).await.unwrap();
        microsoft.set_consent(Consent::As(MAIL.to_owned()));
        let folder = Folder::new("calendar").unwrap();
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let bench = Self { folder, crm, microsoft, port, browser };
        for (name, secret) in [
            ("microsoft", CLIENT_SECRET),
            ("espocrm-key", API_KEY),
            ("admin", ADMIN_PASSWORD),
            ("vault", Key::generate().expose_secret()),
        ] {
            let path = bench.folder.join(name);
            std::fs::write(&path, secret).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        bench.write_settings(private);
        bench
    }

    fn write_settings(&self, private: u16) {
        let secret = |name: &str| format!("\"file:{}\"", self.folder.join(name).display());
        let settings = format!(
            "[vault]\nkey = {vault}\n\
             [producer]\nwebhook_listen = \"127.0.0.1:{port}\"\n[operations]\nlisten = \"127.0.0.1:{private}\"\n\
             [accounts]\npublic_url = \"http://127.0.0.1:{port}\"\n\
             [provider.microsoft]\nclient_id = \"{CLIENT_ID}\"\nclient_secret = {microsoft_secret}\n\
             authority_url = \"{microsoft}\"\napi_url = \"{microsoft}/v1.0\"\n\
             [connector.espocrm]\nurl = \"{crm}\"\napi_key = {key}\n\
             [provision.espocrm]\nadmin_user = \"admin\"\nadmin_password = {admin}\n\
             webhook_url = \"http://127.0.0.1:{port}\"\n\
             [flow.calendar]\nenabled = true\nsweep_cron = \"*/3 * * * * *\"\n",
            vault = secret("vault"),
            port = self.port,
            microsoft_secret = secret("microsoft"),
            microsoft = self.microsoft.base_url(),
            crm = self.crm.base_url(),
            key = secret("espocrm-key"),
            admin = secret("admin"),
        );
        std::fs::write(self.folder.join("syncfleet.toml"), settings).unwrap();
    }

    async fn up(&self) -> RunningProgram {
        let program = Program::new("syncfleet").unwrap().current_dir(self.folder.path());
        let mut running = program.arg("up").start().unwrap();
        running.wait_for_log("The worker begins to serve", SOON).await.unwrap();
        running
    }

    async fn said(&self, args: &[&str]) -> String {
        let output = syncfleet(self.folder.path(), args).await;
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}{}", printed(&output), complained(&output));
        printed(&output)
    }

    /// Opens the link that the operator sent, and agrees.
    async fn connect(&self) {
        let link = self.said(&["accounts", "connect", "microsoft", PERSON_ID]).await;
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

    fn meetings(&self) -> Vec<Value> {
        let is_alive = |record: &Value| record["deleted"] != json!(true);
        self.crm.records_of("Meeting").into_iter().filter(is_alive).collect()
    }

    fn events(&self) -> Vec<Value> {
        let all = self.microsoft.records().into_iter().filter(|record| record.get("subject").is_some());
        all.collect()
    }

    fn event_at_outlook(&self, subject: &str) -> String {
        let day = tomorrow();
        let at = |hour: i8| json!({ "dateTime": day.at(hour, 0, 0, 0).to_string(), "timeZone": "UTC" });
        let event = json!({ "mailbox": MAIL, "subject": subject, "start": at(9), "end": at(10) });
        self.microsoft.create_as_person(&object(event)).unwrap()
    }

    fn meeting_at_espocrm(&self, name: &str) -> String {
        let day = tomorrow();
        let at = |hour: i8| day.at(hour, 0, 0, 0).strftime("%Y-%m-%d %H:%M:%S").to_string();
        let meeting = json!({
            "name": name, "dateStart": at(12), "dateEnd": at(13), "status": "Planned",
            "assignedUserId": PERSON_ID, "usersIds": [PERSON_ID],
        });
        self.crm.create_as(PERSON_ID, "Meeting", &object(meeting)).unwrap()
    }

    async fn until_both(&self, what: &str, subjects: &[&str]) {
        wait::until(what, SOON, async || {
            let mut names: Vec<String> =
                self.meetings().iter().map(|it| it["name"].as_str().unwrap_or_default().to_owned()).collect();
            let mut events: Vec<String> = self
                .events()
                .iter()
                .map(|it| it["subject"].as_str().unwrap_or_default().to_owned())
                .collect();
            names.sort();
            events.sort();
            if names == subjects && events == subjects {
                Ok(())
            } else {
                Err(format!("{names:?} {events:?}"))
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_calendar_is_connected_and_follows_both_ways_also_through_kills() {
    let bench = Bench::new().await;
    bench.said(&["provision", "--yes"]).await;
    let plan = bench.said(&["provision"]).await;
    assert!(plan.contains("nothing"), "a second run finds nothing to do: {plan}");
    let up = bench.up().await;
    bench.event_at_outlook("Born in Outlook");
    let meeting = bench.meeting_at_espocrm("Born in EspoCRM");
    bench.connect().await;
    bench.until_both("both sides have both", &["Born in EspoCRM", "Born in Outlook"]).await;

    // An edit on either side, with the process killed in between.
    drop(up);
    let event = bench.event_at_outlook("Made while nobody looked");
    bench.crm.edit_as(PERSON_ID, "Meeting", &meeting, &object(json!({ "name": "Renamed" }))).unwrap();
    let up = bench.up().await;
    bench.until_both("what was missed", &["Born in Outlook", "Made while nobody looked", "Renamed"]).await;
    bench.microsoft.edit_as_person(&event, &object(json!({ "subject": "Moved" }))).unwrap();
    bench.until_both("an edit in Outlook", &["Born in Outlook", "Moved", "Renamed"]).await;
    bench.microsoft.delete_as_person(&event).unwrap();
    bench.until_both("a deletion in Outlook", &["Born in Outlook", "Renamed"]).await;
    bench.crm.delete_as(PERSON_ID, "Meeting", &meeting).unwrap();
    bench.until_both("a deletion in EspoCRM", &["Born in Outlook"]).await;

    assert!(bench.microsoft.mails_by_clients().is_empty(), "nobody gets mail");
    assert_eq!(bench.microsoft.outside_description(), Vec::<Value>::new());
    let status = json_of(&syncfleet(bench.folder.path(), &["status", "--json"]).await);
    assert_eq!(status["dead_letters"], json!([]), "{status}");
    assert_eq!(status["accounts"][0]["state"], "active", "{status}");
    wait::until("the calendar in status", SOON, async || {
        let status = json_of(&syncfleet(bench.folder.path(), &["status", "--json"]).await);
        let calendar = &status["sources"][0];
        let is_well = calendar["has_token"] == json!(true) && calendar["linked"] == json!(1);
        if is_well { Ok(()) } else { Err(status) }
    })
    .await;
    let text = printed(&syncfleet(bench.folder.path(), &["status"]).await);
    assert!(text.contains("EVENTS LINKED") && text.contains(PERSON_ID), "{text}");
    let doctor = syncfleet(bench.folder.path(), &["doctor"]).await;
    assert!(!printed(&doctor).contains("BROKEN"), "{}", printed(&doctor));
    drop(up);
}
