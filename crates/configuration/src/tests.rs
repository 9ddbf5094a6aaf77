use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use secrecy::ExposeSecret as _;

use super::*;

/// The reference with everything switched on: a valid file that names every key.
fn full_file() -> String {
    let replaced = [
        ("kind = \"embedded\"\n\n[queue.rabbitmq]", "kind = \"rabbitmq\"\n\n[queue.rabbitmq]"),
        (
            "url = \"\"\n# Secret: the password of",
            "url = \"amqp://fleet@mq.example.com/%2f\"\n# Secret: the password of",
        ),
        ("kind = \"embedded\"\n\n[state.redis]", "kind = \"redis\"\n\n[state.redis]"),
        (
            "url = \"\"\n# Secret: the password; ",
            "url = \"redis://db.example.com:6379/0\"\n# Secret: the password; ",
        ),
        ("one for the whole fleet.\nkey = \"\"", "one for the whole fleet.\nkey = \"env:SECRET\""),
        ("url = \"\"\n# How the API", "url = \"https://crm.example.com\"\n# How the API"),
        ("auth = \"api_key\"", "auth = \"hmac\""),
        ("secret_key = \"\"", "secret_key = \"env:SECRET\""),
        ("configurator_url = \"\"", "configurator_url = \"https://configurator.example.com\""),
        ("kanzlei = \"\"", "kanzlei = \"K1\""),
        ("database = \"\"", "database = \"D1\""),
        ("\nuser = \"\"", "\nuser = \"ABC\""),
        ("app_id = \"\"", "app_id = \"app-1\""),
        ("api_key = \"\"", "api_key = \"env:SECRET\""),
        ("password = \"\"", "password = \"env:SECRET\""),
        ("enabled = false", "enabled = true"),
        (
            "registered in Entra; \"\" switches the provider off.\nclient_id = \"\"",
            "registered in Entra; \"\" switches the provider off.\nclient_id = \"0000\"",
        ),
        (
            "Google Cloud console; \"\" switches the provider off.\nclient_id = \"\"",
            "Google Cloud console; \"\" switches the provider off.\nclient_id = \"1.apps.example\"",
        ),
        ("public_url = \"\"", "public_url = \"https://sync.example.com\""),
        (
            "[flow.calendar.webhook_secrets]",
            "[flow.calendar.webhook_secrets]\n6b00526cc80a09e94 = \"env:SECRET\"",
        ),
        (
            "[flow.parties.webhook_secrets]",
            "[flow.parties.webhook_secrets]\n6b00526cc80a09e94 = \"env:SECRET\"",
        ),
        ("admin_user = \"\"", "admin_user = \"admin\""),
        ("corp_id = \"\"", "corp_id = \"ww0123456789abcdef\""),
        ("app_secret = \"\"", "app_secret = \"env:SECRET\""),
        ("contact_sync_secret = \"\"", "contact_sync_secret = \"env:SECRET\""),
        ("callback_token = \"\"", "callback_token = \"env:SECRET\""),
        ("callback_encoding_aes_key = \"\"", "callback_encoding_aes_key = \"env:AES_KEY\""),
        (
            "target = \"scim\".\nurl = \"\"\n# Secret: the bearer token. Required by flow.directory with target = \"scim\".\ntoken = \"\"",
            "target = \"scim\".\nurl = \"https://scim.example.com/v2\"\n# Secret: the bearer token.\ntoken = \"env:SECRET\"",
        ),
    ];
    let text = replaced.iter().fold(DEFAULTS.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the reference has changed: {from}");
        text.replace(from, to)
    });
    let (built_in, pattern) = text.split_once("[provider.\"*\"]").unwrap();
    let built_in = built_in.replace("client_secret = \"\"", "client_secret = \"env:SECRET\"");
    format!("{built_in}[provider.\"*\"]{pattern}{ACME}{USER}{OA}")
}

/// A provider of the operator's own, with every key.
const ACME: &str = r#"
[provider.acme]
label = "Acme"
client_id = "a"
client_secret = "env:SECRET"
client_secret_expires = "2027-06-30"
authentication = "basic"
authorize_url = "https://acme.example/authorize"
authorize_parameters = "access_type=offline&prompt=consent%20again"
token_url = "https://acme.example/token"
revoke_url = "https://acme.example/revoke"
scopes = "one two"
token_scopes = "one"
application_scope = "all"
rotation = "old_lives_on"
idle_days_max = 90
grant_days_max = 365
"#;

/// A user with every key.
const USER: &str = r#"
[flow.calendar.user.6b00526cc80a09e94]
enabled = true
microsoft_calendar = "Kanzlei"
google_calendar = ""
sync_period = "6 months"
sync_end_period = ""
max_portion_size = 50
"#;

/// A receiver of callbacks with every key.
const OA: &str = r#"
[flow.directory.relay.oa]
url = "https://oa.example.com/wecom"
shards = 2
attempts_max = 12
retry_delay_initial_seconds = 1.5
retry_delay_factor = 2.0
retry_delay_max_seconds = 600.0
retry_jitter_share = 0.1
age_seconds_max = 86_400
run_seconds_max = 60
timeout_seconds = 5
requests_per_second_max = 7
concurrency_max = 2
answer_bytes_max = 4_096
breaker_failures_max = 3
breaker_pause_seconds = 60
"#;

/// As WeCom makes them.
const AES_KEY: &str = "abcdefghijABCDEFGHIJ0123456789abcdefghij012";

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = [("SECRET", "hunter2"), ("AES_KEY", AES_KEY)].iter().chain(pairs);
    pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load(text: &str, pairs: &[(&str, &str)]) -> Result<Config, Problems> {
    Config::from_text("syncfleet.toml", text, environment(pairs))
}

fn problems(text: &str, pairs: &[(&str, &str)]) -> String {
    load(text, pairs).expect_err("this is no valid configuration").to_string()
}

/// The keys of a document: line index, section, name.
fn keys(text: &str) -> Vec<(usize, String, String)> {
    let mut section = String::new();
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']').replace('"', "");
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            keys.push((index, section.clone(), name.trim_matches('"').to_owned()));
        }
    }
    keys
}

/// How many keys of a document have a value of their own.
fn keys_in_force(text: &str) -> usize {
    keys(text).iter().filter(|(_, section, _)| !section.ends_with(".*")).count()
}

#[test]
fn accounts_need_a_public_address_and_calendars_a_provider() {
    let config = load("", &[]).unwrap();
    assert!(config.provider.is_empty() && config.accounts.is_none() && config.flow.calendar.is_none());
    let found = problems("provider.google = { client_id = \"1.apps.example\" }", &[]);
    assert!(found.starts_with("2 problems"), "{found}");
    for says in ["provider.google.client_secret", "accounts.public_url", "because a provider is configured"] {
        assert!(found.contains(says), "{says}: {found}");
    }
    let found = problems("flow.calendar.enabled = true", &[]);
    for says in
        ["connector.espocrm.url", "because flow.calendar is enabled", "flow.calendar.enabled: found true"]
    {
        assert!(found.contains(says), "{says}: {found}");
    }
    assert!(!found.contains("advoware"), "{found}");
    for (url, says) in [
        ("http://sync.example.com", "https://"),
        ("https://sync.example.com/?x=1", "without user"),
        ("https://sync.example.com/#x", "without user"),
        ("ftp://sync.example.com", "https:// or http://"),
    ] {
        let found = problems(&format!("accounts.public_url = \"{url}\""), &[]);
        assert!(found.contains("accounts.public_url") && found.contains(says), "{url}: {found}");
    }
    let local = "accounts.public_url = \"http://localhost:8080\"\n[provider.google]\nclient_id = \"1\"\n\
                 client_secret = \"env:SECRET\"";
    assert_eq!(load(local, &[]).unwrap().accounts.unwrap().link_life, Duration::from_secs(86_400));
    let text = "provider.microsoft.application_permissions = true";
    assert!(problems(text, &[]).contains("a tenant of its own"));
}

#[test]
fn providers_and_calendars_become_typed_settings() {
    let config = load(&full_file(), &[]).unwrap();
    let microsoft = config.provider.microsoft.as_ref().unwrap();
    assert_eq!((microsoft.tenant.as_str(), microsoft.scopes.len()), ("common", 6));
    assert_eq!(microsoft.sign_in_url, microsoft.authority_url);
    assert_eq!(microsoft.limits.concurrency_max, 4);
    let google = config.provider.google.as_ref().unwrap();
    assert_eq!((google.scopes.len(), google.grant_life_max), (4, None));
    let acme = &config.provider.others["acme"];
    let expected = [("access_type", "offline"), ("prompt", "consent again")];
    assert_eq!(acme.authorize_parameters, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!((acme.rotation, acme.authentication), (UsedToken::LivesOn, ClientProof::Basic));
    assert_eq!(acme.client.secret_expires, Some(jiff::civil::date(2027, 6, 30)));
    assert_eq!(acme.idle_life_max, Some(Duration::from_secs(90 * 86_400)));
    assert_eq!(
        config.provider.secrets().map(|(name, _)| name).collect::<Vec<_>>(),
        ["microsoft", "google", "acme"]
    );

    let calendar = config.flow.calendar.as_ref().unwrap();
    assert_eq!(calendar.conflict_policy, ConflictPolicy::NewestWins);
    assert_eq!(calendar.retry, shared::retry::RetryPolicy::default());
    let own = calendar.reach_of("6b00526cc80a09e94");
    let of_all = calendar.reach_of("6b00526cc80a09e95");
    assert_eq!((own.sync_period.get_months(), own.sync_end_period.get_months()), (6, 3));
    assert_eq!((of_all.sync_period.get_years(), of_all.max_portion_size), (1, 100));
    assert_eq!(own.max_portion_size, 50);
    assert_eq!(calendar.users["6b00526cc80a09e94"].calendars["microsoft"], "Kanzlei");
    assert!(config.flow.sweep_of("calendar").is_some());
}

#[test]
fn tables_of_ones_own_are_read_from_the_environment_too() {
    let config = load(
        &full_file(),
        &[
            ("SYNCFLEET__PROVIDER__ACME__LABEL", "Acme & Sons"),
            ("SYNCFLEET__PROVIDER__OTHER__IDLE_DAYS_MAX", "7"),
            ("SYNCFLEET__FLOW__CALENDAR__USER__6b00526cc80A09e95__MAX_PORTION_SIZE", "7"),
        ],
    );
    let config = config.unwrap();
    assert_eq!(config.provider.others.keys().collect::<Vec<_>>(), ["acme"], "other has no client id");
    assert_eq!(config.provider.others["acme"].label, "Acme & Sons");
    let calendar = config.flow.calendar.unwrap();
    assert_eq!(calendar.reach_of("6b00526cc80A09e95").max_portion_size, 7);
    assert_eq!(calendar.users.len(), 2);
    for (variable, key) in [
        ("SYNCFLEET__PROVIDER__ACME__LABLE", "provider.acme.lable"),
        ("SYNCFLEET__PROVIDER__A B__LABEL", "provider.a b.label"),
        ("SYNCFLEET__PROVIDER__*__LABEL", "provider.*.label"),
    ] {
        let found = problems(&full_file(), &[(variable, "x")]);
        assert!(found.contains(&format!("{key}: found an unknown key")), "{variable}: {found}");
    }
    for wrong in ["[provider.\"a.b\"]\nlabel = \"x\"", "provider.acme = 1", "flow.calendar.user = 1"] {
        assert!(problems(wrong, &[]).starts_with("1 problem"), "{wrong}");
    }
    let found = problems("[provider.\"*\"]\nclient_secret = \"hunter2\"", &[]);
    assert!(found.contains("a value in a pattern (not shown)") && !found.contains("hunter2"), "{found}");
    for wrong in ["0 days", "11 years", "-1 year", "soon", "1 hour"] {
        let found = problems(&format!("flow.calendar.sync_period = \"{wrong}\""), &[]);
        assert!(found.contains("flow.calendar.sync_period: found"), "{wrong}: {found}");
    }
}

#[test]
fn the_defaults_are_valid_and_enable_no_flow() {
    let config = load("", &[]).unwrap();
    assert!(matches!((config.queue, config.state), (QueueBacking::Embedded, StateBacking::Embedded)));
    assert_eq!(config.operations.listen, Some("127.0.0.1:9180".parse().unwrap()));
    assert!(config.flow.parties.is_none() && config.connector.espocrm.is_none());
}

#[test]
fn the_default_retry_policy_is_the_engines() {
    let config = load(&full_file(), &[]).unwrap();
    assert_eq!(config.flow.parties.unwrap().retry, shared::retry::RetryPolicy::default());
}

#[test]
fn every_key_of_the_reference_is_read_and_its_comment_says_what_it_may_be() {
    let environment = environment(&[]);
    let layers = Layers::of_defaults(&mut Vec::new());
    let mut reader = Reader::new(&layers, &environment);
    Config::read(Purpose::Run, &mut reader);
    let known: BTreeSet<&String> = layers.slots.iter().map(|(key, _)| key).collect();
    assert_eq!(reader.read.keys().collect::<BTreeSet<_>>(), known);

    let lines: Vec<&str> = DEFAULTS.lines().collect();
    for (index, section, name) in keys(DEFAULTS) {
        let Some(expected) = reader.read.get(&format!("{section}.{name}")) else { continue };
        let comment = lines[index - 1];
        assert!(comment.starts_with("# ") && comment.ends_with(['.', ')']), "{section}.{name}: {comment}");
        if let Some((_, range)) = expected.split_once("number from ") {
            assert!(comment.contains(range), "the comment of {section}.{name} does not say {range}");
        }
        for word in expected.split('"').skip(1).step_by(2).filter(|_| expected.starts_with('"')) {
            assert!(comment.contains(&format!("\"{word}\"")), "the comment of {section}.{name} lacks {word}");
        }
        let is_secret = reader.secrets.contains(&format!("{section}.{name}"));
        assert_eq!(comment.starts_with("# Secret:"), is_secret, "{section}.{name}");
    }
}

#[test]
fn a_full_file_becomes_typed_settings() {
    let config = load(&full_file(), &[]).unwrap();
    let QueueBacking::RabbitMq(rabbitmq) = config.queue else { panic!("not RabbitMQ") };
    assert_eq!(rabbitmq.url_with_password().expose_secret(), "amqp://fleet:hunter2@mq.example.com/%2f");
    assert_eq!(rabbitmq.dead_letter_retention, Duration::from_secs(365 * 86_400));
    let StateBacking::Redis(redis) = config.state else { panic!("not Redis") };
    assert_eq!(redis.url_with_password().expose_secret(), "redis://:hunter2@db.example.com:6379/0");
    let espocrm = config.connector.espocrm.unwrap();
    assert!(matches!(espocrm.auth, EspoCrmAuth::Hmac { .. }));
    assert_eq!(config.connector.advoware.unwrap().password.expose_secret(), "hunter2");
    let parties = config.flow.parties.unwrap();
    assert_eq!(parties.sweep_time_zone.iana_name(), Some("Europe/Berlin"));
    assert_eq!(parties.conflict_policy, ConflictPolicy::CrmWins);
    assert_eq!(parties.salutations["Mr."], "Herr");
    assert_eq!(parties.webhook_secrets["6b00526cc80a09e94"].expose_secret(), "hunter2");
    assert_eq!((parties.notify_user_id, config.worker.name), (None, None));
}

#[test]
fn the_spool_has_a_directory_unless_it_is_switched_off() {
    let spool = load("", &[]).unwrap().producer.spool.unwrap();
    assert_eq!((spool.dir, spool.messages_max), ("syncfleet-spool".into(), 1_000_000));
    assert_eq!(load("[producer.spool]\ndir = \"\"", &[]).unwrap().producer.spool, None);
}

#[test]
fn further_hosts_are_addresses_separated_by_commas() {
    let pairs = [("SYNCFLEET__QUEUE__RABBITMQ__FURTHER_HOSTS", " mq2:5672,mq3:5673 ")];
    let QueueBacking::RabbitMq(rabbitmq) = load(&full_file(), &pairs).unwrap().queue else {
        panic!("not RabbitMQ")
    };
    assert_eq!(rabbitmq.further_hosts, ["mq2:5672", "mq3:5673"]);
    let StateBacking::Redis(redis) = load(&full_file(), &[]).unwrap().state else { panic!("not Redis") };
    assert_eq!(redis.further_hosts, Vec::<String>::new());
    for wrong in ["mq2", "mq2:5672,", ":5672", "mq2:x"] {
        let pairs = [("SYNCFLEET__STATE__REDIS__FURTHER_HOSTS", wrong)];
        assert!(problems(&full_file(), &pairs).contains("host:port"), "{wrong}");
    }
}

#[test]
fn a_password_may_hold_any_character() {
    let environment = [("ODD", "p%41@:/?#ß")];
    let text = full_file().replacen("\npassword = \"env:SECRET\"", "\npassword = \"env:ODD\"", 1);
    let QueueBacking::RabbitMq(rabbitmq) = load(&text, &environment).unwrap().queue else {
        panic!("not RabbitMQ")
    };
    assert_eq!(
        rabbitmq.url_with_password().expose_secret(),
        "amqp://fleet:p%2541%40%3A%2F%3F%23%C3%9F@mq.example.com/%2f"
    );
}

#[test]
fn all_problems_are_reported_at_once_with_place_key_and_expectation() {
    let text = r#"
[queue]
kind = "rabitmq"
[worker]
concurrency_max = 0
prefetch = "many"
concurrncy_max = 3
[producer]
webhook_listen = "8080"
[connector.espocrm]
url = "crm.example.com"
api_key = "0123456789abcdef"
[flow.parties]
sweep_cron = "every hour"
sweep_time_zone = "Berlin"
mass_change_share_max = 20
look_again_hours_min = 30
[wroker]
drain_seconds = 1
"#;
    let expected = r#"14 problems in the configuration:
  syncfleet.toml:7: worker.concurrncy_max: found an unknown key, expected a key of config/default.toml; did you mean worker.concurrency_max?
  syncfleet.toml:18: wroker: found an unknown key, expected a key of config/default.toml; did you mean worker?
  SYNCFLEET__LOG__LEVL: log.levl: found an unknown key, expected a key of config/default.toml; did you mean log.level?
  syncfleet.toml:9: producer.webhook_listen: found "8080", expected an IP address and a port, such as "127.0.0.1:9180"
  syncfleet.toml:3: queue.kind: found "rabitmq", expected "embedded" or "rabbitmq"; did you mean "rabbitmq"?
  syncfleet.toml:5: worker.concurrency_max: found 0, expected a whole number from 1 to 1024
  syncfleet.toml:6: worker.prefetch: found "many", expected a whole number from 1 to 1000
  SYNCFLEET__WORKER__DRAIN_SECONDS: worker.drain_seconds: found "soon", expected a whole number from 1 to 600
  syncfleet.toml:11: connector.espocrm.url: found "crm.example.com", expected an address that begins with https:// or http://; relative URL without a base
  syncfleet.toml:12: connector.espocrm.api_key: found a value that is no reference (not shown), expected a reference to a secret, "env:NAME" or "file:/path"; put the secret into an environment variable or a file, and refer to it
  syncfleet.toml:14: flow.parties.sweep_cron: found "every hour", expected a cron line, such as "*/15 * * * *"; CRON
  syncfleet.toml:15: flow.parties.sweep_time_zone: found "Berlin", expected a time zone, such as "Europe/Berlin"; ZONE
  syncfleet.toml:16: flow.parties.mass_change_share_max: found 20, expected a number from 0.0 to 1.0
  flow.parties.look_again_hours_max: found 24.0, expected at least look_again_hours_min"#;
    let environment = [("SYNCFLEET__WORKER__DRAIN_SECONDS", "soon"), ("SYNCFLEET__LOG__LEVL", "info")];
    let found = problems(text, &environment);
    // The words of croner and jiff are theirs to change.
    let ours = |text: &str| {
        let lines = text.lines().map(|line| match line.contains(".sweep_") {
            true => line.rsplit_once(';').map_or(line, |(ours, _)| ours).to_owned(),
            false => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(ours(&found), ours(expected));
}

#[test]
fn an_enabled_flow_asks_for_everything_it_needs_at_once() {
    let found = problems("[flow.parties]\nenabled = true", &[]);
    for key in [
        "connector.espocrm.url",
        "connector.espocrm.api_key",
        "connector.advoware.configurator_url",
        "connector.advoware.kanzlei",
        "connector.advoware.database",
        "connector.advoware.user",
        "connector.advoware.app_id",
        "connector.advoware.api_key",
        "connector.advoware.password",
    ] {
        assert!(found.contains(&format!("  {key}: found \"\", expected ")), "{key} is missing:\n{found}");
    }
    assert!(found.starts_with("9 problems") && found.contains("because flow.parties is enabled"), "{found}");
    let found = problems("queue.kind = \"rabbitmq\"\nstate.kind = \"redis\"", &[]);
    for key in ["queue.rabbitmq.url", "queue.rabbitmq.password", "state.redis.url"] {
        assert!(found.contains(key), "{key} is missing:\n{found}");
    }
    assert!(found.starts_with("3 problems"), "{found}");
}

#[test]
fn the_environment_wins_and_is_typed_by_the_reference() {
    let config = load(
        "[worker]\nconcurrency_max = 8\nname = \"w1\"",
        &[
            ("SYNCFLEET__WORKER__CONCURRENCY_MAX", "1_000"),
            ("SYNCFLEET__LOG__FORMAT", "json"),
            ("SYNCFLEET__WORKER__NAME", "7"),
            ("SYNCFLEET__OPERATIONS__LISTEN", ""),
            ("SYNCFLEET_OTHER", "none of our business"),
        ],
    );
    let config = config.unwrap();
    assert_eq!((config.worker.concurrency_max, config.log.format), (1_000, LogFormat::Json));
    assert_eq!((config.worker.name.as_deref(), config.operations.listen), (Some("7"), None));

    let config = load(
        &full_file(),
        &[
            ("SYNCFLEET__FLOW__PARTIES__WEBHOOK_SECRETS__aB1", "env:SECRET"),
            ("SYNCFLEET__FLOW__PARTIES__MASS_CHANGE_SHARE_MAX", "1"),
            ("SYNCFLEET__FLOW__PARTIES__SALUTATIONS__Dr.", "Herr Dr."),
        ],
    );
    let parties = config.unwrap().flow.parties.unwrap();
    assert_eq!(parties.webhook_secrets.keys().collect::<Vec<_>>(), ["6b00526cc80a09e94", "aB1"]);
    assert_eq!((parties.salutations.len(), parties.salutations["Dr."].as_str()), (3, "Herr Dr."));
}

#[test]
fn communications_are_on_unless_they_are_switched_off() {
    let of = |text: &str| load(text, &[]).unwrap().flow.parties.unwrap().communications;
    let found = of(&full_file()).unwrap();
    assert_eq!((found.country.as_str(), found.phone_kind_default, found.mail_kind_default), ("DE", 1, 4));
    assert_eq!((found.kinds["7"].as_str(), found.types["Home"].as_str()), ("Fax", "6"));
    assert_eq!(found.mirrors["mobil"], "3");
    let section = "[flow.parties.communications]";
    let at = full_file().find(section).unwrap();
    let off = full_file()[at..].replacen("enabled = true", "enabled = false", 1);
    assert!(of(&format!("{}{off}", &full_file()[..at])).is_none());
    let found = problems(&format!("{section}\ncountry = \"Germany\"\nphone_kind_default = 13"), &[]);
    assert!(found.contains("communications.country") && found.contains("phone_kind_default"), "{found}");
}

#[test]
fn a_table_of_ones_own_replaces_the_default() {
    let text = full_file().replace("\"Mr.\" = \"Herr\"\n\"Ms.\" = \"Frau\"", "\"Mx.\" = \"Divers\"");
    let parties = load(&text, &[]).unwrap().flow.parties.unwrap();
    assert_eq!(
        parties.salutations.into_iter().collect::<Vec<_>>(),
        [("Mx.".to_owned(), "Divers".to_owned())]
    );
    let found = problems("[flow.parties]\nsalutations = \"Mr.\"", &[]);
    assert!(found.contains("flow.parties.salutations: found \"Mr.\", expected a table"), "{found}");
    let found = problems("[flow.parties.salutations]\n\"Mr.\" = \"\"", &[]);
    assert!(found.contains("syncfleet.toml:2: flow.parties.salutations.Mr.: found \"\""), "{found}");
}

#[test]
fn secrets_come_from_the_environment_or_a_file_and_must_not_be_empty() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        format!("file:{}", path.display())
    };
    let with = |reference: &str| {
        full_file().replacen("\npassword = \"env:SECRET\"", &format!("\npassword = {reference:?}"), 1)
    };
    let password = |config: Config| match config.queue {
        QueueBacking::RabbitMq(rabbitmq) => rabbitmq.password.expose_secret().to_owned(),
        QueueBacking::Embedded => String::new(),
    };
    assert_eq!(password(load(&with(&file("good", b"pass word\r\n")), &[]).unwrap()), "pass word");
    for (reference, expected) in [
        ("env:NOWHERE".to_owned(), "env:NOWHERE, which is not set"),
        ("env:BLANK".to_owned(), "env:BLANK, which is empty"),
        (file("empty", b" \n"), "which is empty"),
        (file("binary", b"\xff\xfe"), "which cannot be read"),
        (file("large", &[b'x'; 70_000]), "has more than 65536 bytes"),
        ("file:/nowhere/at/all".to_owned(), "which cannot be opened"),
        ("env:".to_owned(), "no reference (not shown)"),
        ("file:".to_owned(), "no reference (not shown)"),
        ("correct horse".to_owned(), "no reference (not shown)"),
    ] {
        let found = problems(&with(&reference), &[("BLANK", " ")]);
        let named = found.contains("queue.rabbitmq.password: found ");
        assert!(named && found.contains(expected) && found.starts_with("1 problem "), "{reference}: {found}");
    }
}

#[test]
fn a_secret_shows_nowhere() {
    let config = load(&full_file(), &[]).unwrap();
    for text in [config.masked(), format!("{config:?}")] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    for damaged in [
        "[queue.rabbitmq]\nurl = \"amqp://fleet:hunter2@mq.example.com\"",
        "[queue.rabbitmq]\nurl = \"fleet:hunter2@mq.example.com:port\"",
        "[queue.rabbitmq]\npassword = \"hunter2\"",
        "[queue.rabbitmq]\npassword = hunter2",
        "[queue.rabbitmq]\npasswort = \"hunter2\"",
        "[flow.parties.webhook_secrets]\nx = \"hunter2\"",
    ] {
        let found = problems(damaged, &[]);
        assert!(!found.contains("hunter2") && found.starts_with("1 problem "), "{found}");
    }
}

#[test]
fn the_masked_configuration_says_where_each_value_comes_from_and_is_valid_toml() {
    let config = load(&full_file(), &[("SYNCFLEET__WORKER__PREFETCH", "7")]).unwrap();
    let masked = config.masked();
    let line = |start: &str| {
        let found = masked.lines().find(|line| line.starts_with(start));
        found
            .unwrap_or_else(|| panic!("{start} is missing:\n{masked}"))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(line("prefetch"), "prefetch = 7 # SYNCFLEET__WORKER__PREFETCH");
    let number = full_file().lines().position(|line| line.starts_with("password")).unwrap() + 1;
    assert_eq!(
        line("password"),
        format!("password = \"***\" # syncfleet.toml:{number}, read from env:SECRET")
    );
    assert_eq!(load("", &[]).unwrap().masked().matches("# default").count(), keys_in_force(DEFAULTS));
    let table: toml::Table = masked.parse().unwrap();
    assert_eq!(table["flow"]["parties"]["salutations"]["Mr."].as_str(), Some("Herr"));
    assert_eq!(config.effective().len(), keys_in_force(&full_file()));
}

#[test]
fn files_are_found_or_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let found = Config::load(Some(&path), []).unwrap_err().to_string();
    assert!(found.contains("mine.toml: found a file that cannot be read"), "{found}");
    std::fs::write(&path, "[worker]\nprefetch = 9").unwrap();
    assert_eq!(Config::load(Some(&path), []).unwrap().worker.prefetch, 9);
    std::fs::write(&path, "#".repeat(2_000_000)).unwrap();
    let found = Config::load(Some(&path), []).unwrap_err().to_string();
    assert!(found.contains("more than 1048576 bytes"), "{found}");
    assert_eq!(Config::load(None, []).unwrap().worker.prefetch, 100, "no file here: the defaults");
}

/// `text` with the value of the key at `line` replaced.
fn with_value(text: &str, line: usize, value: &str) -> String {
    edited(text, line, |written| format!("{} = {value}", written.split_once(" = ").unwrap().0))
}

fn edited(text: &str, line: usize, edit: impl Fn(&str) -> String) -> String {
    let lines = text.lines().enumerate();
    lines.map(|(at, written)| if at == line { edit(written) } else { written.to_owned() } + "\n").collect()
}

#[test]
fn every_single_key_that_is_damaged_is_named() {
    let text = full_file();
    for (line, section, name) in keys(&text) {
        let is_item = ["salutations", "kinds", "types", "mirrors", "webhook_secrets"]
            .iter()
            .any(|map| section.ends_with(map));
        for value in ["[1]", "{}", "1979-05-27", "99999999999999999999999", "\"\" # \"\n x"] {
            let Err(Problems(found)) = load(&with_value(&text, line, value), &[]) else {
                panic!("{section}.{name} = {value} is accepted")
            };
            let named = found.iter().any(|problem| problem.key == format!("{section}.{name}"));
            let is_syntax = value.contains('\n');
            assert!(named || is_syntax, "{section}.{name} = {value}: {found:?}");
            if !is_syntax {
                let at = Origin::File { path: "syncfleet.toml".into(), line: line + 1 };
                assert_eq!(found[0].origin, at, "{found:?}");
            }
        }
        let Err(Problems(found)) = load(&with_value(&text, line, ""), &[]) else {
            panic!("{section}.{name} without a value is accepted")
        };
        assert_eq!(found[0].key.trim_matches('"'), name, "{found:?}");
        if is_item {
            continue;
        }
        let mistyped = edited(&text, line, |written| written.replacen(&name, &format!("{name}x"), 1));
        let Err(Problems(found)) = load(&mistyped, &[]) else { panic!("{section}.{name}x is accepted") };
        assert_eq!(found[0].key, format!("{section}.{name}x"));
        assert_eq!(found[0].hint, format!("did you mean {section}.{name}?"));
    }
}

fn provision(text: &str) -> Result<Config, Problems> {
    let name = std::path::Path::new("syncfleet.toml");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, text).unwrap();
    Config::load_to_provision(Some(&file), environment(&[]))
}

const TO_PROVISION: &str = "flow.parties.enabled = true\n\
    [connector.espocrm]\nurl = \"https://crm.example.com\"\napi_key = \"file:/not/there\"\n\
    [provision.espocrm]\nadmin_user = \"admin\"\nadmin_password = \"env:SECRET\"\n";

#[test]
fn what_is_yet_to_be_made_need_not_be_there_to_provision() {
    let config = provision(TO_PROVISION).unwrap();
    let found = config.provision.unwrap();
    assert!(found.auth.is_none() && !found.is_hmac && found.webhook_url.is_none());
    assert_eq!(found.api_key_file.as_deref(), Some(std::path::Path::new("/not/there")));
    assert_eq!((found.api_user.as_str(), found.role.as_str()), ("syncfleet", "syncfleet"));
    assert!(config.connector.espocrm.is_none() && config.connector.advoware.is_none());

    let there = provision(&TO_PROVISION.replace("file:/not/there", "env:SECRET")).unwrap().provision.unwrap();
    assert!(matches!(there.auth, Some(EspoCrmAuth::ApiKey { .. })));
    let unset =
        provision(&TO_PROVISION.replace("file:/not/there", "env:NOT_SET")).unwrap().provision.unwrap();
    assert!(unset.auth.is_none() && unset.api_key_file.is_none());
}

#[test]
fn without_the_api_users_key_other_commands_say_who_makes_it() {
    let text = full_file().replace("auth = \"hmac\"", "auth = \"api_key\"");
    let text = text.replace("api_key = \"env:SECRET\"", "api_key = \"file:/not/there\"");
    let problems = load(&text, &[]).unwrap_err().to_string();
    assert!(problems.contains("connector.espocrm.api_key: found file:/not/there"), "{problems}");
    assert!(problems.contains("`syncfleet provision` makes it"), "{problems}");
}

#[test]
fn to_provision_the_administrator_is_needed_and_otherwise_not_even_read() {
    let without = TO_PROVISION.replace("env:SECRET", "");
    let problems = provision(&without).unwrap_err().to_string();
    assert!(problems.contains("provision.espocrm.admin_password"), "{problems}");
    assert!(
        provision(&TO_PROVISION.replace("env:SECRET", "hunter2")).is_err(),
        "a secret is given by reference"
    );
    assert!(provision("").unwrap().provision.is_none(), "no flow needs it");

    let text = full_file().replace("admin_password = \"env:SECRET\"", "admin_password = \"env:NOT_SET\"");
    let config = load(&text, &[]).unwrap();
    assert!(config.provision.is_none() && config.connector.espocrm.is_some());
}

fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|integer| integer.to_string()),
        (-2i64..2_000).prop_map(|integer| integer.to_string()),
        any::<f64>()
            .prop_filter("TOML writes them otherwise", |n| n.is_finite())
            .prop_map(|n| format!("{n:?}")),
        any::<bool>().prop_map(|flag| flag.to_string()),
        "[ -~&&[^\"\\\\]]{0,40}".prop_map(|text| format!("\"{text}\"")),
        Just("\"ask\"".to_owned()),
        Just("[]".to_owned()),
    ]
}

proptest! {
    #[test]
    fn a_key_with_any_value_is_accepted_or_named(at in any::<prop::sample::Index>(), value in any_value()) {
        let text = full_file();
        let keys = keys(&text);
        let (line, section, name) = at.get(&keys);
        if let Err(Problems(found)) = load(&with_value(&text, *line, &value), &[]) {
            let key = format!("{section}.{name}");
            let named = |p: &Problem| p.key == key || p.expected.contains(name.as_str());
            prop_assert!(found.iter().all(named), "{key} = {value}: {found:?}");
        }
    }

    #[test]
    fn no_text_and_no_environment_makes_it_panic(text in "\\PC{0,200}", name in "[A-Z_.]{0,30}", value in "\\PC{0,20}") {
        let _ = Config::from_text("x", &text, [(format!("SYNCFLEET__{name}"), value)]);
        let lines: String = text.chars().map(|c| if c == ' ' { '\n' } else { c }).collect();
        let _ = Config::from_text("x", &lines, []);
    }
}
