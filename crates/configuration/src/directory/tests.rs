use secrecy::ExposeSecret as _;

use super::*;
use crate::{Config, Problems};

const AES_KEY: &str = "abcdefghijABCDEFGHIJ0123456789abcdefghij012";

/// What is the least that runs, with a SCIM service.
const TO_SCIM: &str = r#"
[connector.wecom]
corp_id = "ww0123456789abcdef"
app_secret = "env:SECRET"
[connector.scim]
url = "https://scim.example.com/v2"
token = "env:SECRET"
[flow.directory]
enabled = true
"#;

/// The same with EspoCRM.
const TO_CRM: &str = r#"
[connector.wecom]
corp_id = "ww0123456789abcdef"
contact_sync_secret = "env:SECRET"
[connector.espocrm]
url = "https://crm.example.com"
admin_user = "admin"
admin_password = "env:SECRET"
[flow.directory]
enabled = true
target = "espocrm"
"#;

fn load(text: &str) -> Result<Config, Problems> {
    let environment =
        [("SECRET", "hunter2"), ("AES_KEY", AES_KEY), ("SHORT", "abc"), ("ODD", "a token with blanks")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Config::from_text("syncfleet.toml", text, environment)
}

fn directory(text: &str) -> Directory {
    load(text).unwrap().flow.directory.unwrap()
}

fn problems(text: &str) -> String {
    load(text).expect_err("this is no valid configuration").to_string()
}

#[test]
fn what_is_not_said_follows_from_the_target() {
    let scim = directory(TO_SCIM);
    assert_eq!((scim.target, scim.hierarchy), (DirectoryTarget::Scim, Hierarchy::Nested));
    assert_eq!((scim.group_names, scim.group_name_chars_max), (DepartmentText::Name, 200));
    assert_eq!(scim.flat_group_names, Some(DepartmentText::Path));
    assert!(scim.create_users && scim.not_activated_is_active && scim.relays.is_empty());
    assert_eq!(scim.user_department, Some(DepartmentText::Name));
    assert_eq!((scim.employee_number_attribute, scim.retry), (None, RetryPolicy::default()));

    let crm = directory(TO_CRM);
    assert_eq!((crm.target, crm.hierarchy), (DirectoryTarget::EspoCrm, Hierarchy::Flat));
    assert_eq!((crm.group_names, crm.group_name_chars_max), (DepartmentText::Path, 100));
    assert!(!crm.create_users && crm.user_department.is_none() && crm.flat_group_names.is_none());

    let flat = directory(&format!("{TO_SCIM}hierarchy = \"flat\"\ncreate_users = \"no\"\n"));
    assert_eq!((flat.group_names, flat.create_users), (DepartmentText::Path, false));
    let nested = directory(&format!("{TO_SCIM}hierarchy = \"nested\"\n"));
    assert_eq!((nested.hierarchy, nested.flat_group_names), (Hierarchy::Nested, None));
    let by_name = directory(&format!("{TO_SCIM}group_names = \"name\"\n"));
    assert_eq!(by_name.flat_group_names, Some(DepartmentText::Name), "what is said goes for both");
    let named = directory(&format!("{TO_SCIM}hierarchy = \"rollup\"\ngroup_names = \"name\"\n"));
    assert_eq!((named.hierarchy, named.group_names), (Hierarchy::Rollup, DepartmentText::Name));
}

#[test]
fn only_the_connectors_of_the_target_are_there() {
    let scim = load(TO_SCIM).unwrap();
    assert!(scim.connector.scim.is_some() && scim.connector.espocrm_admin.is_none());
    let wecom = scim.connector.wecom.unwrap();
    assert_eq!(wecom.app_secret.unwrap().expose_secret(), "hunter2");
    assert!(wecom.contact_sync_secret.is_none() && wecom.callback.is_none());
    assert_eq!(wecom.api_url.as_str(), "https://qyapi.weixin.qq.com/cgi-bin/");
    assert!(scim.flow.sweep_of("directory").is_some() && scim.flow.sweep_of("relay_oa").is_none());

    let crm = load(TO_CRM).unwrap();
    let admin = crm.connector.espocrm_admin.unwrap();
    assert_eq!((admin.user.as_str(), admin.password.expose_secret()), ("admin", "hunter2"));
    assert!(crm.connector.scim.is_none() && crm.connector.espocrm.is_none(), "no API user is needed");
    assert!(crm.connector.wecom.unwrap().contact_sync_secret.is_some());

    let off = load(&TO_SCIM.replace("env:SECRET", "env:NOT_SET").replace("true", "false")).unwrap();
    assert!(off.flow.directory.is_none() && off.connector.wecom.is_none() && off.connector.scim.is_none());
}

#[test]
fn everything_that_is_lacking_is_asked_for_at_once() {
    for (target, keys) in [
        ("scim", &["connector.scim.url", "connector.scim.token"][..]),
        (
            "espocrm",
            &["connector.espocrm.url", "connector.espocrm.admin_user", "connector.espocrm.admin_password"],
        ),
    ] {
        let found = problems(&format!("flow.directory = {{ enabled = true, target = {target:?} }}"));
        for key in keys.iter().chain(&["connector.wecom.corp_id", "connector.wecom.app_secret"]) {
            assert!(found.contains(&format!("  {key}: found \"\", expected ")), "{key}: {found}");
        }
        assert!(found.starts_with(&format!("{} problems", keys.len() + 2)), "{found}");
        assert!(found.contains(&format!("because flow.directory.target is {target:?}")), "{found}");
        assert!(found.contains("contact_sync_secret beside it, or alone"), "{found}");
    }
}

#[test]
fn what_the_target_cannot_show_is_refused() {
    let wrong = "hierarchy = \"nested\"\ngroup_names = \"name\"\ngroup_name_chars_max = 120\n";
    let found = problems(&format!("{TO_CRM}{wrong}"));
    for says in [
        "syncfleet.toml:12: flow.directory.hierarchy: found \"nested\", expected \"flat\" or \"rollup\", since EspoCRM",
        "flow.directory.group_names: found \"name\", expected \"path\"",
        "flow.directory.group_name_chars_max: found 120, expected at most 100",
    ] {
        assert!(found.contains(says), "{says}: {found}");
    }
    assert!(found.starts_with("3 problems"), "{found}");
    assert!(load(&format!("{TO_SCIM}{wrong}")).is_ok());
    let found = problems(&format!("{TO_SCIM}hierarchy = \"nestet\"\ntarget = \"ldap\""));
    assert!(found.contains("did you mean \"nested\"?") && found.contains("flow.directory.target"), "{found}");
    let found = problems(&format!("{TO_SCIM}double_surnames = \"欧阳 张\""));
    assert!(found.contains("names of two characters"), "{found}");
    let own = directory(&format!("{TO_SCIM}double_surnames = \" 欧阳  纳兰 \""));
    assert_eq!(own.double_surnames.len(), 2);
}

#[test]
fn callbacks_need_a_token_and_a_key_that_can_be_one() {
    let with = |lines: &str| TO_SCIM.replace("[connector.scim]", &format!("{lines}\n[connector.scim]"));
    let both = "callback_token = \"env:SECRET\"\ncallback_encoding_aes_key = \"env:AES_KEY\"";
    let callback = load(&with(both)).unwrap().connector.wecom.unwrap().callback.unwrap();
    assert_eq!(callback.encoding_aes_key.expose_secret(), AES_KEY);
    for (lines, says) in [
        ("callback_token = \"env:SECRET\"", "callback_encoding_aes_key: found \"\""),
        ("callback_encoding_aes_key = \"env:AES_KEY\"", "callback_token: found \"\""),
        (
            "callback_token = \"env:SECRET\"\ncallback_encoding_aes_key = \"env:SHORT\"",
            "callback_encoding_aes_key: found another secret (not shown), expected a secret of 43 letters",
        ),
        (
            "callback_token = \"env:ODD\"\ncallback_encoding_aes_key = \"env:AES_KEY\"",
            "callback_token: found another secret (not shown), expected a secret of 1 to 32 letters",
        ),
    ] {
        let found = problems(&with(lines));
        assert!(found.contains(says) && found.starts_with("1 problem "), "{lines}: {found}");
    }
}

#[test]
fn a_receiver_becomes_a_flow_of_its_own() {
    let callback = "callback_token = \"env:SECRET\"\ncallback_encoding_aes_key = \"env:AES_KEY\"";
    let text = TO_SCIM.replace("[connector.scim]", &format!("{callback}\n[connector.scim]"));
    let oa = "[flow.directory.relay.oa_2]\nurl = \"https://oa.example.com/wecom\"\nattempts_max = 9\n";
    let relays = directory(&format!("{text}{oa}")).relays;
    assert_eq!(relays.keys().collect::<Vec<_>>(), ["oa_2"]);
    assert_eq!((relays["oa_2"].flow.as_str(), relays["oa_2"].retry.attempts_max), ("relay_oa_2", 9));

    let found = problems(&format!("{TO_SCIM}{oa}"));
    assert!(found.contains("because flow.directory.relay has receivers"), "{found}");
    let found = problems(&format!("{text}[flow.directory.relay.oa]\nattempts_max = 9\n"));
    assert!(found.contains("flow.directory.relay.oa.url: found \"\""), "{found}");
    for name in ["OA", "our-oa", "a23456789_123456789_123456789_12345"] {
        let found = problems(&format!("{text}{}", oa.replace("oa_2", name)));
        assert!(
            found.contains(&format!("flow.directory.relay.{name}: found a table of that name")),
            "{found}"
        );
        assert!(found.contains("at most 34 of a-z, 0-9 and _") && found.starts_with("1 problem "), "{found}");
    }
    let variables = [
        ("SECRET", "hunter2"),
        ("AES_KEY", AES_KEY),
        ("SYNCFLEET__FLOW__DIRECTORY__RELAY__OA__URL", "http://127.0.0.1:1/"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = Config::from_text("syncfleet.toml", &text, variables).unwrap();
    assert_eq!(config.flow.directory.unwrap().relays["oa"].url.as_str(), "http://127.0.0.1:1/");
}

#[test]
fn to_provision_neither_wecom_nor_its_secrets_are_needed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("syncfleet.toml");
    let provision = "[provision.espocrm]\nadmin_user = \"admin\"\nadmin_password = \"env:SECRET\"\n";
    let text = TO_CRM.replace("contact_sync_secret = \"env:SECRET\"\n", "");
    std::fs::write(&file, format!("{text}{provision}")).unwrap();
    let config = Config::load_to_provision(Some(&file), [("SECRET".to_owned(), "x".to_owned())]).unwrap();
    assert!(config.provision.is_some() && config.flow.directory.is_some());
    assert!(config.connector.wecom.is_none());
    std::fs::write(&file, format!("{TO_SCIM}{provision}")).unwrap();
    let config = Config::load_to_provision(Some(&file), []).unwrap();
    assert!(config.provision.is_none(), "EspoCRM has no part in it");
}

#[test]
fn tokens_in_redis_are_sealed_with_a_key_that_somebody_gives() {
    let redis = format!(
        "{TO_SCIM}\n[state]\nkind = \"redis\"\n[state.redis]\nurl = \"redis://db.example.com:6379/0\"\n"
    );
    let text = problems(&redis);
    assert!(text.contains("vault.key") && text.contains("syncfleet vault new-key"), "{text}");
    let with_key = format!("{redis}\n[vault]\nkey = \"env:AES_KEY\"\n");
    assert!(load(&with_key).is_ok(), "{}", problems(&with_key));
    assert!(load(TO_SCIM).is_ok(), "on one machine the key is a file beside the database");
}
