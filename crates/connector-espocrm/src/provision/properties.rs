//! Whatever is found: carrying the plan out leaves nothing to do, also after a stop after any action, and nothing that
//! was there is gone. The model of EspoCRM that carries it out is written down here, apart from the plan.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use serde_json::{Map, Value, json};

use super::*;
use crate::{EntityType, EspoId, Version};

const STATUSES: [&str; 3] = ["clean", "dirty", "failed"];
const EVENTS: [&str; 3] = ["create", "update", "delete"];
const BASE: &str = "https://sync.example.test/base/";

fn entity() -> EntityType {
    EntityType::new("CBeteiligte").unwrap()
}

fn id(text: impl Into<String>) -> EspoId {
    EspoId::new(text).unwrap()
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(fields) = value else { panic!("{value} is no object") };
    fields
}

fn template() -> BTreeMap<String, Map<String, Value>> {
    let field = |name: &str, definition| (name.to_owned(), object(definition));
    [
        field("lastName", json!({ "type": "varchar", "maxLength": 100, "required": true, "pattern": "$x" })),
        field("salutationName", json!({ "type": "enum", "options": ["", "Mr.", "Ms."] })),
        field(
            "phoneNumber",
            json!({ "type": "phone", "typeList": ["Mobile", "Office"], "defaultType": "Mobile" }),
        ),
        field("description", json!({ "type": "text" })),
    ]
    .into()
}

fn wanted() -> Wanted {
    let fields = vec![
        FieldNeed::native("lastName", Value::Object(template()["lastName"].clone())).may_be_empty(),
        FieldNeed::native("salutationName", Value::Object(template()["salutationName"].clone()))
            .options_wished(["", "Mr.", "Dipl.-Ing."]),
        FieldNeed::native("phoneNumber", Value::Object(template()["phoneNumber"].clone()))
            .options_needed(["Office", "Own"]),
        FieldNeed::custom("betnr", json!({ "type": "int", "min": 0 })),
        FieldNeed::custom("rowId", json!({ "type": "varchar", "maxLength": 50 })).length_min(50),
        FieldNeed::custom("status", json!({ "type": "enum", "options": STATUSES, "default": "clean" }))
            .options_needed(STATUSES),
    ];
    let rights = vec![
        Right::Records("CBeteiligte".into(), "create"),
        Right::Records("CBeteiligte".into(), "read"),
        Right::Records("CBeteiligte".into(), "edit"),
        Right::Records("User".into(), "read"),
        Right::Switch("Webhook"),
        Right::Permission("messagePermission"),
    ];
    let webhooks = EVENTS.map(|event| (format!("CBeteiligte.{event}"), format!("parties/{event}"))).into();
    let template = Template { name: "Person", label: "x", label_plural: "x" };
    let need = EntityNeed { name: entity(), template: Some(template), fields };
    Wanted {
        needs: vec![Needs { version_min: Version(9, 2, 2), entities: vec![need], rights, webhooks }],
        user: "sync".into(),
        role: "sync".into(),
        webhook_url: Some(BASE.parse().unwrap()),
    }
}

fn nothing() -> Found {
    Found {
        version: Version(9, 2, 7),
        entities: BTreeMap::new(),
        role: None,
        user: None,
        webhooks: Vec::new(),
        secrets_known: BTreeSet::new(),
        is_key_known: false,
    }
}

/// What EspoCRM does when it is asked for an action.
fn carry_out(found: &mut Found, action: &Action) {
    let role_of = |found: &Found| found.role.clone().expect("the role is made before it is given");
    match action {
        Action::CreateEntity { body, .. } => {
            // 9.2 drops the flag; the name gets its letter.
            let name = EntityType::new(format!("C{}", body["name"].as_str().unwrap())).unwrap();
            let entity = EntityFound { fields: template(), has_versions: found.version >= Version(9, 3, 0) };
            assert!(found.entities.insert(name, entity).is_none(), "409");
        }
        Action::SwitchOnVersions { entity } => found.entities.get_mut(entity).unwrap().has_versions = true,
        Action::CreateField { entity, field, body } => {
            let mut definition = body.clone();
            assert_eq!(definition.shift_remove("name").unwrap(), json!(field));
            definition.insert("isCustom".into(), json!(true));
            let fields = &mut found.entities.get_mut(entity).unwrap().fields;
            assert!(fields.insert(field.clone(), definition).is_none(), "409");
        }
        Action::ChangeField { entity, field, body, .. } => {
            assert!(body["type"].is_string(), "500 No type.");
            let fields = &mut found.entities.get_mut(entity).unwrap().fields;
            let is_custom = fields[field].contains_key("isCustom");
            // What is not repeated is dropped; a core field falls back on what it was at first.
            let mut definition =
                if is_custom { Map::new() } else { template().remove(field).unwrap_or_default() };
            definition.extend(body.clone());
            if is_custom {
                definition.insert("isCustom".into(), json!(true));
            }
            fields.insert(field.clone(), definition);
        }
        Action::CreateRole { name, data, permissions, .. } => {
            let scopes: Vec<&String> = data.keys().filter(|scope| scope.starts_with('C')).collect();
            assert!(
                scopes.iter().all(|scope| found.entities.keys().any(|entity| entity.as_str() == **scope)),
                "400"
            );
            found.role = Some(RoleFound {
                id: id("new-role"),
                name: name.clone(),
                data: data.clone(),
                permissions: permissions.clone(),
            });
        }
        Action::ExtendRole { id, data, permissions, .. } => {
            let role = found.role.as_mut().filter(|role| role.id == *id).unwrap();
            role.data = data.clone();
            role.permissions.extend(permissions.clone());
            let role = role.clone();
            for own in found.user.iter_mut().flat_map(|user| &mut user.roles).filter(|own| own.id == role.id)
            {
                *own = role.clone();
            }
        }
        Action::CreateUser { name, .. } => {
            let roles = vec![role_of(found)];
            let user = UserFound {
                id: id("new-user"),
                name: name.clone(),
                kind: "api".into(),
                is_active: true,
                roles,
            };
            assert!(found.user.replace(user).is_none(), "409");
        }
        Action::KeepKey { .. } => {
            assert!(found.user.is_some());
            found.is_key_known = true;
        }
        Action::GiveRole { roles, .. } => {
            let role = role_of(found);
            let user = found.user.as_mut().unwrap();
            user.roles.retain(|own| roles.contains(&own.id));
            user.roles.push(role);
        }
        Action::CreateWebhook { event, url } => {
            assert!(found.user.is_some() && !found.entities.is_empty());
            let id = id(format!("hook{}", found.webhooks.len()));
            found.secrets_known.insert(id.clone());
            let (event, url) = (event.clone(), url.clone());
            found.webhooks.push(WebhookFound { id, event, url, is_active: true, skip_own: true });
        }
        Action::ChangeWebhook { id, .. } => {
            let hook = found.webhooks.iter_mut().find(|hook| hook.id == *id).unwrap();
            (hook.is_active, hook.skip_own) = (true, true);
        }
        Action::KeepSecret { id, .. } => {
            found.secrets_known.insert(id.clone());
        }
    }
}

/// Whatever there was is there still, and as much of it.
fn nothing_is_gone(before: &Found, after: &Found) {
    for (name, entity) in &before.entities {
        for (field, definition) in &entity.fields {
            let now = &after.entities[name].fields[field];
            for (key, value) in definition {
                match (value, &now[key]) {
                    (Value::Array(options), Value::Array(now)) => {
                        let kept: Vec<&Value> =
                            now.iter().filter(|option| options.contains(option)).collect();
                        assert_eq!(kept, options.iter().collect::<Vec<_>>(), "{field}.{key}");
                    }
                    (value, now) if ["required", "maxLength", "readOnly"].contains(&key.as_str()) => {
                        assert_eq!(value.is_number(), now.is_number());
                        assert!(value.as_u64() <= now.as_u64(), "{field}.{key}");
                    }
                    (value, now) => assert_eq!(value, now, "{field}.{key}"),
                }
            }
        }
    }
    let rank =
        |level: &Value| ["no", "own", "team", "yes", "all"].iter().position(|it| level == it).unwrap_or(0);
    let roles = |found: &Found| -> Vec<RoleFound> {
        found.role.iter().chain(found.user.iter().flat_map(|user| &user.roles)).cloned().collect()
    };
    for role in roles(before) {
        let after = roles(after);
        let now = after.iter().find(|now| now.id == role.id).expect("no role is taken away");
        for (scope, actions) in &role.data {
            match actions {
                Value::Object(actions) => {
                    assert!(
                        actions.iter().all(|(action, level)| rank(level) <= rank(&now.data[scope][action]))
                    );
                }
                switch => assert!(*switch != json!(true) || now.data[scope] == json!(true)),
            }
        }
    }
    for hook in &before.webhooks {
        let now = after.webhooks.iter().find(|now| now.id == hook.id).expect("no webhook is taken away");
        assert!((now.is_active || !hook.is_active) && (now.skip_own || !hook.skip_own));
        assert_eq!((&now.event, &now.url), (&hook.event, &hook.url));
    }
}

fn any_fields() -> impl Strategy<Value = BTreeMap<String, Map<String, Value>>> {
    let options = |all: &'static [&'static str]| subsequence(all.to_vec(), 0..=all.len());
    let last_name = any::<bool>();
    let salutation = options(&["", "Mr.", "Ms.", "Other"]);
    let betnr = prop::option::of(any::<bool>());
    let row_id = prop::option::of(prop::option::of(1u32..200));
    let status = prop::option::of(options(&["clean", "own", "dirty", "failed"]));
    let types = options(&["Mobile", "Office", "Theirs"]);
    (last_name, salutation, types, betnr, row_id, status).prop_map(
        |(required, salutation, types, betnr, row_id, status)| {
            let mut fields = template();
            fields.get_mut("lastName").unwrap().insert("required".into(), json!(required));
            fields.get_mut("salutationName").unwrap().insert("options".into(), json!(salutation));
            fields.get_mut("phoneNumber").unwrap().insert("typeList".into(), json!(types));
            let mut custom = |name: &str, definition: Value| {
                let mut definition = object(definition);
                definition.insert("isCustom".into(), json!(true));
                definition.insert("tooltip".into(), json!("theirs"));
                fields.insert(name.to_owned(), definition);
            };
            if let Some(read_only) = betnr {
                custom("betnr", json!({ "type": "int", "readOnly": read_only }));
            }
            match row_id {
                Some(Some(length)) => custom("rowId", json!({ "type": "varchar", "maxLength": length })),
                Some(None) => custom("rowId", json!({ "type": "varchar" })),
                None => {}
            }
            if let Some(options) = status {
                custom("status", json!({ "type": "enum", "options": options, "default": "own" }));
            }
            fields
        },
    )
}

fn any_role(id: &'static str) -> impl Strategy<Value = RoleFound> {
    let level = || prop::sample::select(vec!["no", "own", "team", "all"]);
    let scope = prop::option::of((level(), level(), any::<bool>()));
    (scope, prop::option::of(any::<bool>()), prop::option::of(level())).prop_map(
        move |(scope, webhook, message)| {
            let mut data = object(json!({ "Import": true }));
            if let Some((read, edit, create)) = scope {
                let create = if create { "yes" } else { "no" };
                data.insert(
                    "CBeteiligte".into(),
                    json!({ "create": create, "read": read, "edit": edit, "delete": "all" }),
                );
            }
            if let Some(on) = webhook {
                data.insert("Webhook".into(), json!(on));
            }
            let permissions =
                message.map(|level| ("messagePermission".to_owned(), json!(level))).into_iter().collect();
            RoleFound { id: super::properties::id(id), name: "sync".into(), data, permissions }
        },
    )
}

fn any_webhooks() -> impl Strategy<Value = Vec<(WebhookFound, bool)>> {
    let hook = (any::<Index>(), any::<Index>(), any::<bool>(), any::<bool>(), any::<bool>());
    prop::collection::vec(hook, 0..6).prop_map(|hooks| {
        let of = |(number, (event, place, is_active, skip_own, known)): (
            usize,
            (Index, Index, bool, bool, bool),
        )| {
            let event = *event.get(&EVENTS);
            let base = *place.get(&["https://sync.example.test/base", "https://other.example.test"]);
            let hook = WebhookFound {
                id: id(format!("old{number}")),
                event: format!("CBeteiligte.{event}"),
                url: format!("{base}/webhooks/parties/{event}"),
                is_active,
                skip_own,
            };
            (hook, known)
        };
        hooks.into_iter().enumerate().map(of).collect()
    })
}

prop_compose! {
    fn any_found()(
        is_new in any::<bool>(),
        fields in prop::option::of((any_fields(), any::<bool>())),
        role in prop::option::of(any_role("role")),
        user in prop::option::of((any::<bool>(), prop::option::of(any_role("other")), any::<bool>())),
        webhooks in any_webhooks(),
    ) -> Found {
        let mut found = Found { version: if is_new { Version(9, 3, 10) } else { Version(9, 2, 7) }, ..nothing() };
        if let Some((fields, has_versions)) = fields {
            found.entities.insert(entity(), EntityFound { fields, has_versions });
        }
        found.role = role;
        if let Some((has_role, other, is_key_known)) = user {
            let roles = found.role.clone().filter(|_| has_role).into_iter().chain(other).collect();
            found.user = Some(UserFound { id: id("user"), name: "theirs".into(), kind: "api".into(), is_active: true, roles });
            found.is_key_known = is_key_known;
            found.secrets_known = webhooks.iter().filter(|(_, known)| *known).map(|(hook, _)| hook.id.clone()).collect();
            found.webhooks = webhooks.into_iter().map(|(hook, _)| hook).collect();
        }
        found
    }
}

proptest! {
    #[test]
    fn the_plan_settles_removes_nothing_and_may_stop_anywhere(before in any_found(), stop in any::<Index>()) {
        let wanted = wanted();
        let plan = plan_provision(&wanted, &before);
        prop_assert_eq!(&plan.obstacles, &[]);

        let mut whole = before.clone();
        plan.actions.iter().for_each(|action| carry_out(&mut whole, action));
        prop_assert_eq!(plan_provision(&wanted, &whole), Plan::default());
        nothing_is_gone(&before, &whole);

        let mut found = before.clone();
        let done = stop.index(plan.actions.len() + 1);
        plan.actions[..done].iter().for_each(|action| carry_out(&mut found, action));
        let rest = plan_provision(&wanted, &found);
        prop_assert!(rest.actions.len() <= plan.actions.len() - done, "{:#?}\n{:#?}", plan, rest);
        rest.actions.iter().for_each(|action| carry_out(&mut found, action));
        prop_assert_eq!(plan_provision(&wanted, &found), Plan::default());
        nothing_is_gone(&before, &found);
    }
}

fn texts(plan: &Plan) -> Vec<String> {
    plan.actions.iter().map(ToString::to_string).collect()
}

#[test]
fn an_empty_crm_gets_everything_in_an_order_that_works() {
    let plan = plan_provision(&wanted(), &nothing());
    assert_eq!(
        texts(&plan),
        [
            "make the entity type CBeteiligte from the template Person",
            "switch optimistic concurrency control on for CBeteiligte",
            "change the field CBeteiligte.lastName: not required",
            "change the field CBeteiligte.salutationName: options \"Dipl.-Ing.\" added",
            "change the field CBeteiligte.phoneNumber: options \"Own\" added",
            "make the field CBeteiligte.betnr (int)",
            "make the field CBeteiligte.rowId (varchar)",
            "make the field CBeteiligte.status (enum)",
            "make the role sync: create CBeteiligte, read CBeteiligte, edit CBeteiligte, read User, Webhook, \
             messagePermission all",
            "make the API user sync with the role sync",
            "keep the key of the API user sync",
            "make the webhook CBeteiligte.create to https://sync.example.test/base/webhooks/parties/create (skipOwn), \
             and keep its secret",
            "make the webhook CBeteiligte.update to https://sync.example.test/base/webhooks/parties/update (skipOwn), \
             and keep its secret",
            "make the webhook CBeteiligte.delete to https://sync.example.test/base/webhooks/parties/delete (skipOwn), \
             and keep its secret",
        ]
    );
    let Action::CreateEntity { body, .. } = &plan.actions[0] else { panic!("{plan:?}") };
    assert_eq!(body["name"], "Beteiligte", "EspoCRM puts the C in front itself");
    let Action::ChangeField { body, .. } = &plan.actions[2] else { panic!("{plan:?}") };
    let expected = json!({ "type": "varchar", "maxLength": 100, "required": false, "pattern": "$x" });
    assert_eq!(*body, object(expected), "the whole definition is repeated");
}

#[test]
fn what_a_person_must_change_first_is_named_and_nothing_is_done_by_force() {
    let obstacles = |found: &Found| {
        plan_provision(&wanted(), found).obstacles.into_iter().map(|it| it.0).collect::<Vec<_>>()
    };
    let old = Found { version: Version(9, 2, 1), ..nothing() };
    assert!(obstacles(&old)[0].contains("update it to 9.2.2"), "{:?}", obstacles(&old));
    assert_eq!(plan_provision(&wanted(), &old).actions, []);

    let user = UserFound {
        id: id("u"),
        name: "sync".into(),
        kind: "regular".into(),
        is_active: true,
        roles: vec![],
    };
    let person = Found { user: Some(user.clone()), ..nothing() };
    assert!(obstacles(&person)[0].contains("type regular"), "{:?}", obstacles(&person));
    let off = Found { user: Some(UserFound { kind: "api".into(), is_active: false, ..user }), ..nothing() };
    assert!(obstacles(&off)[0].contains("switched off"), "{:?}", obstacles(&off));

    for definition in
        [json!({ "type": "varchar" }), json!({ "type": "int", "notStorable": true }), json!({ "type": 5 })]
    {
        let mut fields = template();
        fields.insert("betnr".into(), object(definition));
        let entities = [(entity(), EntityFound { fields, has_versions: true })].into();
        let other = Found { entities, ..nothing() };
        assert!(obstacles(&other)[0].contains("CBeteiligte.betnr"), "{:?}", obstacles(&other));
    }
}

#[test]
fn without_an_address_there_are_no_webhooks() {
    let wanted = Wanted { webhook_url: None, ..wanted() };
    assert!(!texts(&plan_provision(&wanted, &nothing())).iter().any(|text| text.contains("webhook ")));
}

/// What comes with EspoCRM: its own fields, and those that were made for it, with the letter in front.
fn meeting(fields: &[&str]) -> EntityFound {
    let field = |name: &&str| ((*name).to_owned(), object(json!({ "type": "varchar", "maxLength": 100 })));
    EntityFound { fields: fields.iter().map(field).collect(), has_versions: false }
}

#[test]
fn flows_share_what_they_need_and_built_in_types_are_not_made() {
    let name = EntityType::new("Meeting").unwrap();
    let field = |length: u32| FieldNeed::custom("place", json!({ "type": "varchar" })).length_min(length);
    let needs = |fields, version_min, path: &str| Needs {
        version_min,
        entities: vec![EntityNeed { name: name.clone(), template: None, fields }],
        rights: vec![Right::Switch("Webhook"), Right::Records("Meeting".into(), "read")],
        webhooks: vec![("Meeting.update".into(), path.into())],
    };
    let native = FieldNeed::native("status", json!({ "type": "varchar" }));
    let both = Wanted {
        needs: vec![
            needs(vec![field(50)], Version(9, 2, 2), "one/update"),
            needs(vec![field(200), native], Version(9, 2, 5), "two/update"),
        ],
        ..wanted()
    };
    let merged = both.merged();
    assert_eq!((merged.version_min, merged.entities.len(), merged.rights.len()), (Version(9, 2, 5), 1, 2));
    assert_eq!((merged.entities[0].fields.len(), merged.webhooks.len()), (2, 2));

    assert!(plan_provision(&both, &nothing()).obstacles[0].0.contains("no Meeting"));
    let found = |fields: &[&str]| Found { entities: [(name.clone(), meeting(fields))].into(), ..nothing() };
    let made = texts(&plan_provision(&both, &found(&["status", "place"])));
    assert_eq!(
        made[..2],
        ["switch optimistic concurrency control on for Meeting", "make the field Meeting.place (varchar)",],
        "the field that has the name without the letter is not the one that is made"
    );
    let mended = texts(&plan_provision(&both, &found(&["status", "cPlace"])));
    assert_eq!(mended[1], "change the field Meeting.cPlace: maximum length 200 instead of 100");
}
