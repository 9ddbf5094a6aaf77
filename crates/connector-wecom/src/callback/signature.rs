//! `msg_signature`: who knows the token.

use sha1::{Digest as _, Sha1};
use subtle::ConstantTimeEq as _;

/// Lower-case hexadecimal SHA-1 of the four texts, sorted as bytes and joined.
pub(crate) fn signature(token: &str, timestamp: &str, nonce: &str, encrypted: &str) -> String {
    let mut parts = [token.as_bytes(), timestamp.as_bytes(), nonce.as_bytes(), encrypted.as_bytes()];
    parts.sort_unstable();
    let mut sum = Sha1::new();
    for part in parts {
        sum.update(part);
    }
    hex::encode(sum.finalize())
}

/// Whether two texts are the same; how long that takes says nothing about where they differ.
pub(crate) fn equal(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_one_comes_out() {
        let echostr =
            "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ==";
        let signature = signature("QDG6eK", "1409659589", "263014780", echostr);
        assert_eq!(signature, "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3");
        assert!(equal(signature.as_bytes(), b"5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3"));
        for other in
            ["", "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd4", "5C45FF5E21C57E6AD56BAC8758B79B1D9AC89FD3"]
        {
            assert!(!equal(signature.as_bytes(), other.as_bytes()), "{other}");
        }
    }
}
