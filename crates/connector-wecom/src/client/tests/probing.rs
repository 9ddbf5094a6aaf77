//! What the secrets may read, for installations of each kind.

use super::{Bench, IDS, NO_IDS, refusal};
use crate::{Ability, Lack, Secret};

const ONE: &str = r#"{"errcode":0,"department":{"id":1,"name":"x","parentid":0}}"#;
const SOMEBODY: &str = r#"{"errcode":0,"userlist":[{"userid":"zhangsan","name":"x","department":[1]}]}"#;
const BARE: &str = r#"{"errcode":0,"userid":"zhangsan","name":"x","department":[1]}"#;
const FULL: &str =
    r#"{"errcode":0,"userid":"zhangsan","name":"x","department":[1],"mobile":"","gender":"1"}"#;

fn open(bench: &Bench, member: &str) {
    bench.fake.answers("department/simplelist", &[IDS]);
    bench.fake.answers("department/get", &[ONE]);
    bench.fake.answers("user/simplelist", &[SOMEBODY]);
    bench.fake.answers("user/get", &[member]);
    bench.fake.answers("user/list_id", &[NO_IDS]);
}

#[tokio::test]
async fn an_old_app_and_the_contact_sync_lack_nothing() {
    let bench = Bench::start(true, true).await;
    open(&bench, FULL);
    let abilities = bench.wecom.abilities().await.unwrap();
    assert_eq!(abilities.lacks(), [""; 0]);
    assert_eq!(abilities.contact_data, Ability::With(Secret::App));
    assert_eq!(abilities.all_ids, Ability::With(Secret::ContactSync));
    assert_eq!(bench.fake.asked().len(), 2 + 5, "a handful of calls");
}

#[tokio::test]
async fn an_app_made_today_alone_lacks_contact_data_and_lists_of_ids() {
    let bench = Bench::start(true, false).await;
    open(&bench, BARE);
    let abilities = bench.wecom.abilities().await.unwrap();
    assert!(abilities.members.is_there() && abilities.whole_company.is_there());
    assert_eq!(abilities.contact_data, Ability::Not(Lack::Fields(Secret::App)));
    assert_eq!(abilities.all_ids, Ability::Not(Lack::Secret(Secret::ContactSync)));
    let said = abilities.lacks().join(" ");
    assert!(said.contains("2022-06-20") && said.contains("contact_sync_secret is not set"), "{said}");
}

#[tokio::test]
async fn a_contact_sync_alone_lacks_the_app() {
    let bench = Bench::start(false, true).await;
    open(&bench, BARE);
    for path in ["user/simplelist", "user/get", "department/get"] {
        bench.fake.answers(path, &[&refusal(48009)]);
    }
    let abilities = bench.wecom.abilities().await.unwrap();
    assert_eq!(abilities.members, Ability::Not(Lack::Secret(Secret::App)));
    assert_eq!(abilities.department_names, Ability::Not(Lack::Secret(Secret::App)));
    assert_eq!(abilities.all_ids, Ability::With(Secret::ContactSync));
    assert!(abilities.lacks().iter().any(|lack| lack.contains("app_secret") && lack.contains("2022-08-15")));
}

#[tokio::test]
async fn an_old_contact_sync_reads_all_by_itself() {
    let bench = Bench::start(false, true).await;
    open(&bench, FULL);
    assert!(bench.wecom.abilities().await.unwrap().lacks().is_empty());
    assert!(bench.fake.times("user/get sync-1") == 1);
}

#[tokio::test]
async fn a_narrow_scope_and_an_empty_one() {
    let bench = Bench::start(true, false).await;
    open(&bench, BARE);
    bench.fake.answers(
        "department/simplelist",
        &[r#"{"department_id":[{"id":9,"parentid":7},{"id":8,"parentid":9}]}"#],
    );
    bench.fake.answers("user/simplelist", &[r#"{"userlist":[]}"#]);
    let abilities = bench.wecom.abilities().await.unwrap();
    assert_eq!(abilities.whole_company, Ability::Not(Lack::Scope(Secret::App)));
    assert_eq!((abilities.members, abilities.contact_data), (Ability::With(Secret::App), Ability::Unknown));
    bench.fake.answers("department/simplelist", &[r#"{"department_id":[]}"#]);
    let abilities = bench.wecom.abilities().await.unwrap();
    assert_eq!(abilities.department_names, Ability::Not(Lack::Scope(Secret::App)));
}

#[tokio::test]
async fn a_wrong_secret_is_a_lack_and_the_other_one_is_tried() {
    let bench = Bench::start(true, true).await;
    open(&bench, BARE);
    bench.fake.answers("gettoken", &[r#"{"access_token":"s","expires_in":7200}"#, &refusal(40001)]);
    let abilities = bench.wecom.abilities().await.unwrap();
    assert!(abilities.all_ids.is_there());
    let Ability::Not(Lack::Refused { secret, what }) = abilities.members else { panic!("{abilities:?}") };
    assert!(secret == Secret::App && what.contains("app_secret"), "{what}");
}

#[tokio::test]
async fn what_only_fails_is_no_lack() {
    let bench = Bench::start(true, false).await;
    open(&bench, BARE);
    bench.fake.answers("department/get", &[&refusal(45009)]);
    assert_eq!(bench.wecom.abilities().await.unwrap_err().code, "throttled");
}
