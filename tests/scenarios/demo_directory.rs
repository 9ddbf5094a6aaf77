//! `syncfleet demo directory`, and the commands about the first sync beside what it left.

use serde_json::json;

use crate::programs::{DemoFolder, complained, json_of, printed, syncfleet};

#[tokio::test]
async fn a_company_arrives_and_a_first_sync_begins_once() {
    let demo = DemoFolder::new();
    let args = ["demo", "directory", "--dir", "demo", "--members", "60", "--json"];
    let output = syncfleet(demo.0.path(), &args).await;
    assert_eq!(output.status.code(), Some(0), "{}{}", printed(&output), complained(&output));
    let report = json_of(&output);
    assert_eq!((&report["equal"], &report["differences"]), (&json!(true), &json!([])), "{report:#}");

    let status = json_of(&demo.command(&["directory", "status", "--json"]).await);
    assert_eq!(
        (&status["first_sync"]["phase"], &status["workers"]),
        (&json!("done"), &json!(0)),
        "{status:#}"
    );
    let ask = async |args: &[&str]| {
        let output = demo.command(&[&["directory", "first-sync", "--json"], args].concat()).await;
        (output.status.code(), json_of(&output))
    };
    let (code, refused) = ask(&["--by", "anna"]).await;
    assert_eq!((code, &refused["outcome"]), (Some(1), &json!("refused")), "{refused:#}");
    assert_eq!(refused["message"], json!(null));
    let (code, begun) = ask(&["--by", "anna", "--again"]).await;
    assert_eq!((code, &begun["outcome"]), (Some(0), &json!("begun")), "{begun:#}");
    let (code, joined) = ask(&["--by", "bernd", "--again"]).await;
    assert_eq!((code, &joined["outcome"]), (Some(0), &json!("joined")), "{joined:#}");
    assert_eq!(
        (&joined["first_sync"]["id"], &joined["first_sync"]["by"]),
        (&begun["first_sync"]["id"], &json!("anna"))
    );

    // WeCom and the service ended with the demo.
    let diff = demo.command(&["directory", "diff"]).await;
    assert_eq!(diff.status.code(), Some(69), "{}", printed(&diff));
    assert!(complained(&diff).contains("wecom"), "{}", complained(&diff));
    let elsewhere = syncfleet(demo.0.path(), &["directory", "status"]).await;
    assert_eq!(elsewhere.status.code(), Some(64), "{}", complained(&elsewhere));
    assert!(complained(&elsewhere).contains("[flow.directory]"), "{}", complained(&elsewhere));
}
