//! Keys that are exchanged.

use shared::ports::state::Write;

use super::*;

fn parsed(key: &secrecy::SecretString) -> Key {
    Key::parse(key, "test").unwrap()
}

#[tokio::test]
async fn everything_is_sealed_anew_and_the_former_key_is_needed_no_longer() {
    let (state, first, second) = (Arc::new(MemoryState::default()), Key::generate(), Key::generate());
    let old = Secrets::new(state.clone(), KeySource::Given(parsed(&first)), vec![]);
    // More than a page.
    for number in 0..450 {
        old.put(&format!("webhook/{number:04}"), &format!("secret-{number}").into()).await.unwrap();
    }
    let rotated = Secrets::new(state.clone(), KeySource::Given(parsed(&second)), vec![parsed(&first)]);
    rotated.put("webhook/0007", &"another".into()).await.unwrap();
    let foreign = Secrets::new(state.clone(), KeySource::Given(parsed(&Key::generate())), vec![]);
    foreign.put("webhook/foreign", &"x".into()).await.unwrap();
    state.write(Write::put("vault/webhook/damaged", b"{}")).await.unwrap();

    // Interrupted after the first page, and begun again.
    let page = rotated.reseal_page(None).await.unwrap();
    assert_eq!((page.resealed, page.present, page.is_complete()), (199, 1, false));
    let all = rotated.reseal_all().await.unwrap();
    assert_eq!((all.resealed, all.present, all.unreadable, all.left), (250, 200, 2, 0));
    assert_eq!(all.unreadable_names, ["webhook/damaged", "webhook/foreign"]);
    assert!(!all.is_complete(), "the former keys of what cannot be opened may still turn up");

    let only = Secrets::new(state.clone(), KeySource::Given(parsed(&second)), vec![]);
    for (number, secret) in [(0, "secret-0"), (7, "another"), (449, "secret-449")] {
        let got = only.get(&format!("webhook/{number:04}")).await.unwrap().unwrap();
        assert_eq!(got.expose_secret(), secret);
    }
    let again = only.reseal_all().await.unwrap();
    assert_eq!((again.resealed, again.present), (0, 450));
}

#[tokio::test]
async fn a_grant_that_changes_while_it_is_sealed_anew_is_not_set_back() {
    let bench = Bench::new().await;
    let member = bench.member();
    let account = bench.connected(&member, "anna").await;
    let second = Key::generate();
    let rotated =
        Secrets::new(bench.state.clone(), KeySource::Given(parsed(&second)), vec![parsed(&bench.key)]);

    bench.state.hang_at("vault/grant/");
    let sealing = tokio::spawn({
        let rotated = rotated.clone();
        async move { rotated.reseal_all().await }
    });
    bench.state.hanging.notified().await;
    // What hangs was read before this change, and is written after it.
    let grant = bench.grant(&member, &account).await;
    let tokens = tokens("access-newer", Some("refresh-newer"), 3_600);
    let writing = tokio::spawn({
        let (member, newer) = (member.clone(), grant.refreshed(&tokens, bench.clock.now()));
        async move { member.0.put(&newer, Expected::Any).await }
    });
    bench.state.hanging.notified().await;
    bench.state.go_on();
    writing.await.unwrap().unwrap();
    let done = sealing.await.unwrap().unwrap();
    assert_eq!(done.resealed + done.present, 1, "{done:?}");
    // Whichever came first: the newer one is there, under either key.
    let place = "vault/grant/microsoft/user/anna";
    let opened = rotated.read_at(place).await.unwrap().unwrap();
    let grant = Grant::from_secret(&opened.secret).unwrap();
    assert_eq!(grant.access.unwrap().token.expose(), "access-newer");
    rotated.reseal_all().await.unwrap();
    let listed = member.list(None, 10).await.unwrap();
    assert!(listed[0].summary.is_some(), "what is known without the key goes along: {listed:?}");
}
