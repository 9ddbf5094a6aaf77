//! Why a callback is refused, and with which status.

/// Why a callback is refused. The texts hold nothing of it, and no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Longer than what is read.
    #[error("too large: {0}")]
    TooLarge(&'static str),
    /// The query is none of a callback's.
    #[error("query: {0}")]
    Query(&'static str),
    /// The body is no envelope.
    #[error("body: {0}")]
    Body(&'static str),
    /// It does not prove that its sender knows the token.
    #[error("signature: {0}")]
    Signature(&'static str),
    /// What is encrypted is no base64 of whole AES blocks.
    #[error("ciphertext: {0}")]
    Ciphertext(&'static str),
    /// What was decrypted ends with no padding; where the signature is right, the EncodingAESKey is likely another one.
    #[error("padding: {0}")]
    Padding(&'static str),
    /// What was decrypted is shorter than it says.
    #[error("length: {0}")]
    Length(&'static str),
    /// It is for another company.
    #[error("receiveid: {0}")]
    Receiver(&'static str),
    /// What was decrypted is no message.
    #[error("message: {0}")]
    Message(&'static str),
    /// It is for a third-party suite, which has another envelope and other rules.
    #[error(
        "message: of a third-party suite; only companies' own apps and the contact sync are received here"
    )]
    Suite,
}

impl Refusal {
    /// The HTTP status that it is answered with. WeCom sends again whatever it is, three times in all.
    pub fn status(self) -> u16 {
        match self {
            Self::TooLarge(_) => 413,
            Self::Signature(_) | Self::Receiver(_) => 403,
            Self::Query(_)
            | Self::Body(_)
            | Self::Ciphertext(_)
            | Self::Padding(_)
            | Self::Length(_)
            | Self::Message(_)
            | Self::Suite => 400,
        }
    }

    /// One word for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::TooLarge(_) => "too_large",
            Self::Query(_) => "query",
            Self::Body(_) => "body",
            Self::Signature(_) => "signature",
            Self::Ciphertext(_) => "ciphertext",
            Self::Padding(_) => "padding",
            Self::Length(_) => "length",
            Self::Receiver(_) => "receiveid",
            Self::Message(_) => "message",
            Self::Suite => "suite",
        }
    }
}
