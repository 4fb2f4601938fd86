//! Tokens.

use uuid::Uuid;

use crate::conformance::fixtures::*;
use crate::{AccessToken, ErrorKind, Quota, Right, Rights};

fn token(number: u128) -> AccessToken {
    AccessToken {
        id: Uuid::from_u128(number),
        name: format!("token {number}, \"ö\""),
        digest: [u8::try_from(number % 251).expect("small"); 32],
        rights: Rights::new([Right::Push, Right::Read]),
        source_id: None,
        quota: Quota::default(),
        created_at: NOON,
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    }
}

/// What is kept comes back as it was given, in order; an id is given once.
pub async fn check_tokens(store: &impl Store) {
    assert_eq!(store.tokens().await.expect("tokens"), []);
    let start = store.token_revision().await.expect("a revision");
    let later = AccessToken {
        rights: Rights::new([Right::Manage]),
        source_id: Some("node".to_owned()),
        quota: Quota {
            samples_per_second: Some(1),
            active_series: Some(1 << 40),
            body_bytes_per_second: Some(0),
        },
        created_at: NOON + 1,
        expires_at: Some(NOON + HOUR),
        ..token(1)
    };
    let first = token(2);
    store.create_token(&later).await.expect("created");
    store.create_token(&first).await.expect("created");
    assert_eq!(store.tokens().await.expect("tokens"), [first.clone(), later]);
    assert!(store.token_revision().await.expect("a revision") > start);
    let again = store.create_token(&AccessToken { name: "other".to_owned(), ..first.clone() }).await;
    assert_eq!(again.expect_err("the id is taken").kind(), ErrorKind::Conflict);
    assert_eq!(store.tokens().await.expect("tokens")[0], first);
}

/// Revoking says since when, and the first time counts; using is noted and is no change.
pub async fn check_token_ends(store: &impl Store) {
    store.create_token(&token(1)).await.expect("created");
    store.create_token(&token(2)).await.expect("created");
    let revoke = async |number, at| store.revoke_token(Uuid::from_u128(number), at).await.expect("an answer");
    let before = store.token_revision().await.expect("a revision");
    assert_eq!(revoke(9, NOON).await, None);
    let revoked = AccessToken { revoked_at: Some(NOON + 5), ..token(1) };
    assert_eq!(revoke(1, NOON + 5).await, Some(revoked.clone()));
    let after = store.token_revision().await.expect("a revision");
    assert!(after > before);
    assert_eq!(revoke(1, NOON + 9).await, Some(revoked.clone()), "the first time counts");
    let after = store.token_revision().await.expect("a revision").max(after);

    let uses = [(2, NOON + 7), (2, NOON + 3), (9, NOON)].map(|(number, at)| (Uuid::from_u128(number), at));
    store.note_token_uses(&uses).await.expect("noted");
    store.note_token_uses(&uses[1..]).await.expect("noted");
    store.note_token_uses(&[]).await.expect("nothing to note");
    let used = AccessToken { last_used_at: Some(NOON + 7), ..token(2) };
    assert_eq!(store.tokens().await.expect("tokens"), [revoked, used]);
    assert_eq!(store.token_revision().await.expect("a revision"), after, "using is no change");
}
