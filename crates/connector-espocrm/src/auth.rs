//! How an API user signs in (espocrm: `authMethod` `ApiKey` and `Hmac`), and how an administrator does.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_client::Request;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// How a user signs in.
#[derive(Clone)]
pub enum Credentials {
    /// The key itself, in `X-Api-Key`.
    ApiKey(SecretString),
    /// The key's name and a signature over method and path, in `X-Hmac-Authorization`. Neither body nor query
    /// nor time is covered: it hides the secret, it does not replace TLS.
    Hmac {
        /// The API user's `apiKey`.
        api_key: SecretString,
        /// The API user's `secretKey`.
        secret_key: SecretString,
    },
    /// A person's name and password, in `Authorization: Basic`. For provisioning, which no API user may do.
    Password {
        /// The log-in name.
        user_name: String,
        /// The password.
        password: SecretString,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApiKey(_) => "ApiKey(***)",
            Self::Hmac { .. } => "Hmac(***)",
            Self::Password { .. } => "Password(***)",
        })
    }
}

impl Credentials {
    /// Everything that must never show up in a text.
    pub(crate) fn secrets(&self) -> Vec<SecretString> {
        match self {
            Self::ApiKey(key) => vec![key.clone()],
            Self::Hmac { api_key, secret_key } => vec![api_key.clone(), secret_key.clone()],
            Self::Password { password, .. } => vec![password.clone()],
        }
    }

    /// Who it is beside the one API user of the address: what a refused password ends is no affair of the key's.
    pub(crate) fn person(&self) -> Option<&str> {
        match self {
            Self::ApiKey(_) | Self::Hmac { .. } => None,
            Self::Password { user_name, .. } => Some(user_name),
        }
    }

    /// Adds the header that signs the request.
    pub(crate) fn sign(&self, request: Request) -> Request {
        match self {
            Self::ApiKey(key) => request.secret_header("x-api-key", key.clone()),
            Self::Password { user_name, password } => {
                let header = STANDARD.encode(format!("{user_name}:{}", password.expose_secret()));
                request.secret_header("authorization", SecretString::from(format!("Basic {header}")))
            }
            Self::Hmac { api_key, secret_key } => {
                let text = format!("{} /{}", request.method().as_str(), request.path());
                let digest =
                    signer(secret_key.expose_secret().as_bytes()).chain_update(text).finalize().into_bytes();
                let header = STANDARD.encode(format!("{}:{}", api_key.expose_secret(), hex::encode(digest)));
                request.secret_header("x-hmac-authorization", SecretString::from(header))
            }
        }
    }
}

/// A keyed hash; HMAC takes keys of any length.
#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
pub(crate) fn signer(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_client::Method;

    fn hmac_credentials() -> Credentials {
        Credentials::Hmac {
            api_key: SecretString::from("0123456789abcdef0123456789abcdef"),
            secret_key: SecretString::from("fedcba9876543210fedcba9876543210"),
        }
    }

    #[test]
    fn the_hmac_header_is_the_known_one_and_leaves_the_query_out() {
        let request = Request::new(Method::Get, "CBeteiligte", &[]).query("maxSize", "1");
        let signed = hmac_credentials().sign(request);
        assert_eq!(
            signed.secret_header_value("x-hmac-authorization").unwrap().expose_secret(),
            "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY6ZDU1OGI1ZjhhYTRiZGM4NmFmZmJmYTViZmM0NmZiZjM2ZDRhNzFlMjJjZj\
             M3YzQ0Y2M4NGM4ZGFiYmRlNGRmMg=="
        );
    }

    #[test]
    fn an_api_key_goes_out_as_it_is() {
        let signed =
            Credentials::ApiKey(SecretString::from("k")).sign(Request::new(Method::Get, "App/user", &[]));
        assert_eq!(signed.secret_header_value("x-api-key").unwrap().expose_secret(), "k");
    }

    #[test]
    fn an_administrator_signs_in_with_a_password() {
        let admin = Credentials::Password { user_name: "admin".into(), password: "pass:word".into() };
        let signed = admin.sign(Request::new(Method::Get, "App/user", &[]));
        let header = signed.secret_header_value("authorization").unwrap().expose_secret();
        assert_eq!(header, "Basic YWRtaW46cGFzczp3b3Jk");
        assert_eq!(format!("{admin:?}"), "Password(***)");
    }

    #[test]
    fn nothing_secret_is_printed() {
        assert_eq!(format!("{:?}", hmac_credentials()), "Hmac(***)");
    }
}
