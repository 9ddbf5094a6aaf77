//! `syncfleet demo calendars`, as a person uses it: by links, pages and forms, and killed in between.

use reqwest::Url;
use serde_json::json;
use shared::clock::{Clock as _, SystemClock};
use system_tests::{Program, RunningProgram, wait};

use crate::SOON;
use crate::programs::{DemoFolder, json_of, printed};

const FORM: &str = "application/x-www-form-urlencoded";

struct Bench {
    demo: DemoFolder,
    /// The day of the first events, also when midnight passes meanwhile.
    day: jiff::civil::Date,
    browser: reqwest::Client,
}

/// The attribute of the first element that holds `mark`, without what escapes it.
fn attribute(page: &str, mark: &str, name: &str) -> String {
    let element = page.split('<').find(|element| element.contains(mark));
    let element = element.unwrap_or_else(|| panic!("{mark} is not in the page: {page}"));
    let value = element.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap();
    value.replace("&amp;", "&")
}

/// As a browser encodes the fields of a form.
fn encoded(fields: &[(String, String)]) -> String {
    let mut url = Url::parse("http://form.example").unwrap();
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap().to_owned()
}

/// Tomorrow, where the calendars are.
fn tomorrow() -> jiff::civil::Date {
    let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
    SystemClock.now().to_zoned(zone).date().tomorrow().unwrap()
}

impl Bench {
    #[expect(clippy::disallowed_methods, reason = "the test is a browser")]
    fn new() -> Self {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { demo: DemoFolder::new(), day: tomorrow(), browser }
    }

    async fn start(&self, args: &[&str]) -> RunningProgram {
        let program = Program::new("syncfleet").unwrap().current_dir(self.demo.0.path());
        let args = ["demo", "calendars", "--dir", "demo"].iter().chain(args).copied();
        let mut running = program.args(args).start().unwrap();
        running.wait_for_log("Ctrl-C ends it", SOON).await.unwrap();
        running
    }

    async fn look(&self, url: &str) -> String {
        let answer = self.browser.get(url).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{url}");
        answer.text().await.unwrap()
    }

    /// Sends a form of a page, and is sent back to the page.
    async fn submit(&self, page: &str, fields: &[(&str, &str)]) {
        let fields: Vec<(String, String)> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let request = self.browser.post(page).header("Content-Type", FORM).body(encoded(&fields));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 303, "{}", answer.text().await.unwrap());
    }

    async fn add(&self, page: &str, title: &str, kind: &str) {
        let day = self.day.to_string();
        let what = [("do", "add"), ("kind", kind), ("title", title)];
        self.submit(page, &[&what[..], &[("day", &*day), ("from", "09:00"), ("to", "10:00")]].concat()).await;
    }

    async fn rename(&self, page: &str, title: &str, new: &str) {
        let id = self.id(page, title).await;
        self.submit(page, &[("do", "save"), ("id", &id), ("title", new), ("title_before", title)]).await;
    }

    async fn delete(&self, page: &str, title: &str) {
        let id = self.id(page, title).await;
        self.submit(page, &[("do", "delete"), ("id", &id)]).await;
    }

    /// The id of an event, as the page's form has it.
    async fn id(&self, page: &str, title: &str) -> String {
        let page = self.look(page).await;
        let own = format!("name=\"title_before\" value=\"{title}\"");
        let form = page.split("<form").find(|form| form.contains(&own));
        attribute(form.unwrap_or_else(|| panic!("{title} is not in {page}")), "name=\"id\"", "value")
    }

    /// The pages that the demo printed.
    fn pages(&self, running: &RunningProgram) -> (Option<String>, String, String) {
        let log = running.log();
        let address = |what: &str| {
            let mut lines = log.lines().filter_map(|line| line.trim().strip_prefix(what));
            let address = lines.next().unwrap_or_else(|| panic!("{what} is not in {log}")).trim().to_owned();
            Some(address).filter(|address| address.starts_with("http"))
        };
        let week = |what: &str| format!("{}?week={}", address(what).unwrap(), self.day);
        (address("connect her account"), week("Outlook"), week("EspoCRM"))
    }

    /// Opens the link, accepts on the page of the provider, and comes back.
    async fn connect(&self, link: &str) {
        let begun = self.browser.get(link).send().await.unwrap();
        let header = |answer: &reqwest::Response, name: &str| {
            answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
        };
        let cookie = header(&begun, "set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let asked = header(&begun, "location").unwrap();
        let page = self.look(&asked).await;
        let mut fields: Vec<(String, String)> = page
            .split('<')
            .filter(|element| element.contains("type=\"hidden\""))
            .map(|element| (attribute(element, "hidden", "name"), attribute(element, "hidden", "value")))
            .collect();
        let account = attribute(&page, "checked", "value");
        fields.extend([("account".to_owned(), account), ("decision".to_owned(), "accept".to_owned())]);
        let consent = Url::parse(&asked).unwrap().join(&attribute(&page, "form method", "action")).unwrap();
        let agreed = self.browser.get(format!("{consent}?{}", encoded(&fields))).send().await.unwrap();
        let back = header(&agreed, "location").unwrap();
        let answer = self.browser.get(back).header("Cookie", cookie).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        assert!(status == 200 && text.contains("anna@kanzlei.example is connected"), "{status} {text}");
    }

    /// Waits until a page shows this event, or no longer does.
    async fn until(&self, page: &str, title: &str, is_there: bool) {
        let own = format!("name=\"title_before\" value=\"{title}\"");
        wait::until(&format!("{title} at {page}: {is_there}"), SOON, async || {
            let shown = self.look(page).await;
            if shown.contains(&own) == is_there { Ok(()) } else { Err(shown) }
        })
        .await;
    }
}

#[tokio::test]
async fn an_account_is_connected_in_the_browser_and_events_arrive_on_either_page() {
    let bench = Bench::new();
    let mut running = bench.start(&[]).await;
    let (link, outlook, espocrm) = bench.pages(&running);
    bench.until(&outlook, "Jour fixe", true).await;
    bench.until(&espocrm, "Jour fixe", false).await;
    bench.connect(&link.unwrap()).await;
    running.wait_for_log("Connected: an account at microsoft", SOON).await.unwrap();
    bench.until(&espocrm, "Jour fixe", true).await;
    bench.until(&outlook, "Client meeting: Müller", true).await;

    bench.add(&outlook, "Made in Outlook", "").await;
    bench.until(&espocrm, "Made in Outlook", true).await;
    running.wait_for_log("Outlook: “Made in Outlook” created → EspoCRM meeting created", SOON).await.unwrap();
    bench.add(&espocrm, "Made in EspoCRM", "Call").await;
    bench.until(&outlook, "Made in EspoCRM", true).await;

    // Killed, while people go on; the pages stay where they are.
    running.kill_9();
    bench.add(&outlook, "Made meanwhile", "").await;
    bench.rename(&espocrm, "Made in Outlook", "Renamed meanwhile").await;
    let mut running = bench.start(&[]).await;
    assert_eq!(
        bench.pages(&running),
        (None, outlook.clone(), espocrm.clone()),
        "connected it is, and in its place"
    );
    bench.until(&espocrm, "Made meanwhile", true).await;
    bench.until(&outlook, "Renamed meanwhile", true).await;
    bench.delete(&outlook, "Made meanwhile").await;
    bench.until(&espocrm, "Made meanwhile", false).await;
    bench.delete(&espocrm, "Made in EspoCRM").await;
    bench.until(&outlook, "Made in EspoCRM", false).await;
    running.wait_for_log("EspoCRM: “Made in EspoCRM” deleted → Outlook event deleted", SOON).await.unwrap();

    let status = json_of(&bench.demo.command(&["status", "--json"]).await);
    assert_eq!((&status["dead_letters"], &status["accounts"][0]["state"]), (&json!([]), &json!("active")));
    let doctor = printed(&bench.demo.command(&["doctor"]).await);
    assert!(!doctor.contains("BROKEN"), "{doctor}");
    running.terminate();
    let status = running.wait_exit(SOON).await.unwrap();
    assert_eq!(status.code(), Some(130), "{}", running.log());
}

#[tokio::test]
async fn the_account_connects_itself_where_that_is_asked_for() {
    let bench = Bench::new();
    let mut running = bench.start(&["--connect"]).await;
    running.wait_for_log("Connected: an account at microsoft", SOON).await.unwrap();
    let (link, outlook, _) = bench.pages(&running);
    assert_eq!(link, None);
    bench.until(&outlook, "Client meeting: Müller", true).await;
    // The other demo has other things in its directory.
    let program = Program::new("syncfleet").unwrap().current_dir(bench.demo.0.path());
    running.kill_9();
    let mut other = program.args(["demo", "--dir", "demo"]).start().unwrap();
    assert_eq!(other.wait_exit(SOON).await.unwrap().code(), Some(69), "{}", other.log());
}
