//! Both halves of each operation.

use serde_json::json;

use super::*;

const JSON: &str = "application/json; charset=utf-8";

fn answer(status: u16, kind: &str, body: impl Into<String>) -> Answer {
    Answer::recorded(crate::SYSTEM, "GET Beteiligte/{betNr}", status, &[("Content-Type", kind)], body.into())
}

fn betnr(number: i64) -> BetNr {
    BetNr::try_from(number).unwrap()
}

fn recorded(name: &str) -> String {
    let path = format!("{}/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn a_party_comes_as_an_array_or_by_itself() {
    let body = recorded("party");
    let party = read_get(&answer(200, JSON, body.clone()), betnr(104_860)).unwrap().unwrap();
    assert_eq!(party.get(Field::Name).unwrap().as_deref(), Some("Mustermann"));
    let array: Vec<Value> = serde_json::from_str(&body).unwrap();
    let alone = read_get(&answer(200, JSON, array[0].to_string()), betnr(104_860)).unwrap().unwrap();
    assert_eq!(alone, party);
}

#[test]
fn a_party_that_is_not_there() {
    assert_eq!(read_get(&answer(404, JSON, ""), betnr(1)).unwrap(), None);
    assert_eq!(read_get(&answer(200, JSON, "[]"), betnr(1)).unwrap(), None);
}

#[test]
fn what_is_no_party_is_never_taken_for_a_missing_one() {
    for (status, kind, body) in [
        (200, "text/html", "<html>sleeping</html>"),
        (200, JSON, ""),
        (200, JSON, "null"),
        (200, JSON, "{}"),
        (200, JSON, r#"[{"name":"without key"}]"#),
        (200, JSON, r#"[{"betNr":1},{"betNr":1}]"#),
        (200, JSON, r#"[{"betNr":2}]"#),
        (200, JSON, r#"[{"betNr":1,"name":"Muster"#),
        (404, "text/html", "<html>relay</html>"),
        (502, "text/html", "<html>relay</html>"),
    ] {
        let fault = read_get(&answer(status, kind, body), betnr(1)).unwrap_err();
        assert_eq!(fault.kind.name(), "retryable", "{status} {body}");
        assert!(!fault.text.contains("Muster"), "{fault}");
    }
}

#[test]
fn a_created_party_is_known_by_its_key() {
    let fields = PartyPatch::new().set(Field::Name, Some("Mustermann")).set(Field::Vorname, None);
    let request = create_request(&fields);
    assert_eq!(request.operation(), "POST api/v1/advonet/Beteiligte");
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!(body, json!({"name": "Mustermann", "vorname": null}));
    assert_eq!(read_create(&answer(200, JSON, r#"{"betNr":104861}"#)).unwrap(), betnr(104_861));
    assert_eq!(
        read_create(&answer(201, JSON, r#"[{"betNr":104861,"rowId":null}]"#)).unwrap(),
        betnr(104_861)
    );
    for lost in ["[]", "", "{}", r#"{"betNr":0}"#] {
        let fault = read_create(&answer(200, JSON, lost)).unwrap_err();
        assert!(crate::may_have_taken_effect(&fault), "{lost}: {fault}");
    }
    let refused = read_create(&answer(400, JSON, "")).unwrap_err();
    assert!(!crate::may_have_taken_effect(&refused), "{refused}");
}

#[test]
fn a_put_gives_back_everything_that_was_read() {
    let body = recorded("party");
    let party = read_get(&answer(200, JSON, body.clone()), betnr(104_860)).unwrap().unwrap();
    let request = put_request(&party.merged(&PartyPatch::new().set(Field::Anrede, Some("Frau"))));
    assert_eq!(request.path(), "api/v1/advonet/Beteiligte/104860");
    assert_eq!(request.operation(), "PUT api/v1/advonet/Beteiligte/{betNr}");
    let array: Value = serde_json::from_str(&body).unwrap();
    let mut expected = array[0].clone();
    expected["anrede"] = json!("Frau");
    assert_eq!(serde_json::from_slice::<Value>(request.body()).unwrap(), expected);
}

#[test]
fn a_put_is_written_gone_or_a_fault() {
    assert_eq!(read_put(&answer(200, JSON, "[]")).unwrap(), Written::Yes);
    assert_eq!(read_put(&answer(204, JSON, "")).unwrap(), Written::Yes);
    assert_eq!(read_put(&answer(404, JSON, "")).unwrap(), Written::Gone);
    assert!(read_put(&answer(200, "text/html", "<html>")).is_err());
    assert_eq!(read_put(&answer(403, JSON, "")).unwrap_err().code, "forbidden");
}

#[test]
fn a_search_asks_for_what_is_set_and_keeps_what_fits() {
    let search = Search {
        name: Some("Müller".into()),
        vorname: Some("Jürgen".into()),
        geburtsdatum: Some("1980-05-17".parse().unwrap()),
        handelsregisternummer: None,
    };
    let request = search_request(&search);
    let expected = [("name", "Müller"), ("vorname", "Jürgen"), ("geburtsdatum", "1980-05-17")];
    assert_eq!(request.query_pairs(), expected.map(|(name, value)| (name, value.to_owned())));

    let found = json!([
        {"betNr": 1, "name": "Müller", "vorname": "Jürgen", "geburtsdatum": "1980-05-17T00:00:00"},
        {"betNr": 2, "name": "Mu\u{308}ller ", "vorname": "Ju\u{308}rgen", "geburtsdatum": "1980-05-17"},
        {"betNr": 3, "name": "Müller", "vorname": "Jürgen", "geburtsdatum": null},
        {"betNr": 4, "name": "Müllermann", "vorname": "Jürgen", "geburtsdatum": "1980-05-17"},
        {"betNr": 5, "name": "Müller", "vorname": null, "geburtsdatum": "1980-05-17"},
    ]);
    let parties = read_parties(&answer(200, JSON, found.to_string())).unwrap();
    let keys: Vec<i64> = parties.iter().filter(|p| matches(p, &search)).map(|p| p.betnr().get()).collect();
    assert_eq!(keys, [1, 2]);
}
