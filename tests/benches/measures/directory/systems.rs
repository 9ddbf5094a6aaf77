//! The two systems of the first sync in a process of their own, so that nothing of them is measured with the worker: a
//! company in the simulated WeCom, and a simulated SCIM service that lets so many requests in.

use std::process::ExitCode;

use serde_json::{Value, json};
use simulators::{ScimOptions, ScimSimulator, WecomOptions, WecomSimulator};

/// The word in `main`'s arguments.
pub const WORD: &str = "directory-systems";
/// What it prints once both answer, before their addresses.
pub const READY: &str = "systems at ";
/// Departments below each, so that the tree is a few levels deep.
const BELOW: u64 = 8;

/// The process: departments, members, requests a second.
pub async fn serve(args: &[String]) -> ExitCode {
    let numbers: Vec<u64> = args.iter().map(|arg| arg.parse().unwrap()).collect();
    let [departments, members, per_second] = numbers[..] else { unreachable!("started by the measure") };
    let wecom = WecomSimulator::start(WecomOptions::default()).await.unwrap();
    lay_out(&wecom, departments, members);
    let requests_per_second = Some(usize::try_from(per_second).unwrap());
    let scim = ScimSimulator::start(ScimOptions { requests_per_second, ..ScimOptions::default() });
    let scim = scim.await.unwrap();
    println!("{READY}{} {}", wecom.base_url(), scim.base_url());
    std::future::pending().await
}

/// Every tenth member is in two departments, every third one has a leader.
fn lay_out(wecom: &WecomSimulator, departments: u64, members: u64) {
    let seed = |record: Value| wecom.seed(record.as_object().unwrap().clone()).unwrap();
    for id in 2..=departments {
        seed(json!({ "id": id, "parentid": (id - 2) / BELOW + 1, "name": format!("部门{id}") }));
    }
    for number in 0..members {
        let mut within = vec![number % departments + 1];
        if number % 10 == 0 && departments > 1 {
            within.push((number + 1) % departments + 1);
        }
        let leader = (number % 3 == 0).then(|| format!("Member{}", number / 3));
        seed(json!({
            "userid": format!("Member{number}"), "name": format!("成员{number}"), "department": within,
            "status": 1, "direct_leader": leader.into_iter().collect::<Vec<_>>(),
        }));
    }
}
