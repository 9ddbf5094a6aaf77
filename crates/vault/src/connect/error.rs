//! Why an account was not connected: what a person reads, and the status of the page.

use crate::VaultError;

/// Why an account was not connected. The texts are for the person in front of the browser; they hold nothing that
/// came with the request.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No such provider in the settings.
    #[error("There is no such provider here.")]
    UnknownProvider,
    /// Not a request that this installation made anybody send.
    #[error("This address is incomplete or damaged ({0}). Open the link exactly as it was sent to you.")]
    Malformed(&'static str),
    /// Not signed by this installation.
    #[error("This link was not made here, or was changed. Ask for a new one.")]
    BadSignature,
    /// Too old.
    #[error("This link has expired. Ask for a new one.")]
    LinkExpired,
    /// An account was connected with it.
    #[error("An account was connected with this link already. Ask for a new one to connect it again.")]
    LinkUsed,
    /// Opened again and again.
    #[error("This link was opened too often. Wait a quarter of an hour, or ask for a new one.")]
    TooOften,
    /// Unknown, used or expired `state`.
    #[error(
        "This sign-in is unknown here, over, or took too long. Open the link that was sent to you once more."
    )]
    UnknownState,
    /// The sign-in was begun in another browser.
    #[error(
        "This sign-in was begun in another browser, or cookies are blocked. Open the link that was sent to you here."
    )]
    OtherBrowser,
    /// The person said no, or may not say yes.
    #[error(
        "Access was not granted, so nothing is connected. Open the link once more if that was not meant."
    )]
    Declined,
    /// The organisation wants its administrator to consent.
    #[error("Your organisation does not let you grant this yourself. Ask its administrator to allow it.")]
    ConsentNeeded,
    /// The provider does not accept what the sign-in came to.
    #[error("The provider did not accept this sign-in. Open the link that was sent to you once more.")]
    NotAccepted,
    /// The settings or the registration are wrong. What is in it is for the log, not for the page.
    #[error(
        "This installation is not set up for the provider. Its administrator finds the cause in the log."
    )]
    Operator(String),
    /// The provider fails; what is in it is for the log.
    #[error("The provider does not answer as it should just now. Try again in a few minutes.")]
    ProviderFailed(String),
    /// Our own store fails.
    #[error("This cannot be kept just now. Try again in a few minutes.")]
    Unavailable(#[source] VaultError),
}

impl ConnectError {
    /// The status of the page.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::UnknownState | Self::NotAccepted => 400,
            Self::BadSignature | Self::OtherBrowser | Self::Declined | Self::ConsentNeeded => 403,
            Self::UnknownProvider => 404,
            Self::LinkExpired | Self::LinkUsed => 410,
            Self::TooOften => 429,
            Self::Operator(_) => 500,
            Self::ProviderFailed(_) => 502,
            Self::Unavailable(_) => 503,
        }
    }

    /// What it is called in the log.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownProvider => "unknown_provider",
            Self::Malformed(_) => "malformed",
            Self::BadSignature => "bad_signature",
            Self::LinkExpired => "link_expired",
            Self::LinkUsed => "link_used",
            Self::TooOften => "too_often",
            Self::UnknownState => "unknown_state",
            Self::OtherBrowser => "other_browser",
            Self::Declined => "declined",
            Self::ConsentNeeded => "consent_needed",
            Self::NotAccepted => "not_accepted",
            Self::Operator(_) => "misconfigured",
            Self::ProviderFailed(_) => "provider_failed",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// What the log says beside the text; no secrets.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Operator(what) | Self::ProviderFailed(what) => Some(what.clone()),
            Self::Unavailable(error) => Some(error.to_string()),
            Self::Malformed(what) => Some((*what).to_owned()),
            _ => None,
        }
    }
}

impl From<VaultError> for ConnectError {
    fn from(error: VaultError) -> Self {
        Self::Unavailable(error)
    }
}
