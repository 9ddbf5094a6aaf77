//! Keys: 32 random bytes, written as text; where the present one comes from.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{self, Generate as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretBox, SecretString};
use sha2::{Digest as _, Sha256};

const KEY_BYTES: usize = 32;
/// Largest file that a key is read from, in bytes.
const FILE_BYTES_MAX: u64 = 1_024;

/// Why there is no usable key. Its text names the place and says what to do; it never holds a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not 32 bytes in base64.
    #[error("{0} holds no key: it must be 32 bytes in base64, as `syncfleet vault new-key` prints them")]
    Malformed(String),
    /// A file that cannot be read or made.
    #[error("the vault's key {path} {what}; see to the file, or name another one in vault.key")]
    File {
        /// The file.
        path: String,
        /// What failed.
        what: String,
    },
    /// No key is configured, and none is made by itself.
    #[error(
        "no key is configured for the secrets in the state store: make one with `syncfleet vault new-key`, put it where \
         every program of the fleet can read it, and refer to it in vault.key"
    )]
    Missing,
}

/// A key. Not printed, wiped from memory at its end.
pub struct Key {
    bytes: SecretBox<[u8; KEY_BYTES]>,
    id: String,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

impl Key {
    /// Reads a key; `place` is how an error calls it.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn parse(text: &SecretString, place: &str) -> Result<Self, KeyError> {
        let malformed = || KeyError::Malformed(place.to_owned());
        let decoded = STANDARD.decode(text.expose_secret().trim()).map_err(|_| malformed())?;
        let decoded = SecretBox::new(Box::new(decoded));
        let bytes =
            <[u8; KEY_BYTES]>::try_from(decoded.expose_secret().as_slice()).map_err(|_| malformed())?;
        Ok(Self { id: id_of(&bytes), bytes: SecretBox::new(Box::new(bytes)) })
    }

    /// A fresh key as text, from the operating system's randomness.
    pub fn generate() -> SecretString {
        STANDARD.encode(aead::Key::<XChaCha20Poly1305>::generate()).into()
    }

    /// What tells it from other keys; says nothing about the key.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        self.bytes.expose_secret()
    }

    /// A code over `message` under a key that is derived from this one for `purpose` alone.
    fn code(&self, purpose: &str, message: &[u8]) -> Option<Hmac<Sha256>> {
        let derive = Hmac::<Sha256>::new_from_slice(self.bytes()).ok()?;
        let derived = derive.chain_update(b"syncfleet vault derived key\0").chain_update(purpose.as_bytes());
        let code = Hmac::<Sha256>::new_from_slice(&derived.finalize().into_bytes()).ok()?;
        Some(code.chain_update(message))
    }

    /// Signs a message.
    pub(crate) fn sign(&self, purpose: &str, message: &[u8]) -> Option<Vec<u8>> {
        Some(self.code(purpose, message)?.finalize().into_bytes().to_vec())
    }

    /// Whether it signed the message. Takes the same time whatever the signature is.
    pub(crate) fn has_signed(&self, purpose: &str, message: &[u8], signature: &[u8]) -> bool {
        self.code(purpose, message).is_some_and(|code| code.verify_slice(signature).is_ok())
    }
}

fn id_of(bytes: &[u8]) -> String {
    let digest = Sha256::new().chain_update(b"syncfleet vault key id\0").chain_update(bytes).finalize();
    hex::encode(digest.get(..8).unwrap_or_default())
}

/// Where the present key comes from.
#[derive(Debug)]
pub enum KeySource {
    /// From the settings.
    Given(Key),
    /// A file of this machine, made when the first secret is sealed.
    File(PathBuf),
    /// Nowhere: nothing can be sealed.
    Missing,
}

impl KeySource {
    /// The key, where there is one yet.
    pub(crate) fn read(&self) -> Result<Option<Key>, KeyError> {
        match self {
            Self::Given(key) => {
                Ok(Some(Key { bytes: SecretBox::new(Box::new(*key.bytes())), id: key.id.clone() }))
            }
            Self::File(path) => read_file(path),
            Self::Missing => Ok(None),
        }
    }

    /// The key; makes the file where there is none yet.
    pub(crate) fn read_or_make(&self) -> Result<Key, KeyError> {
        if let Some(key) = self.read()? {
            return Ok(key);
        }
        let Self::File(path) = self else { return Err(KeyError::Missing) };
        make_file(path).map_err(|error| failed(path, "cannot be made", &error))?;
        read_file(path)?.ok_or_else(|| KeyError::File { path: text(path), what: "is gone again".to_owned() })
    }
}

fn read_file(path: &Path) -> Result<Option<Key>, KeyError> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, "cannot be opened", &error)),
    };
    let mut content = String::new();
    let read = file.take(FILE_BYTES_MAX).read_to_string(&mut content);
    let content = SecretString::from(content);
    read.map_err(|error| failed(path, "cannot be read", &error))?;
    Key::parse(&content, &text(path)).map(Some)
}

/// Makes the file with a fresh key, whole or not at all, readable by its owner only. One that somebody else made at
/// the same time stays.
fn make_file(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    // A temporary file has the mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(Key::generate().expose_secret().as_bytes())?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => std::fs::File::open(folder)?.sync_all(),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}

fn failed(path: &Path, what: &str, error: &io::Error) -> KeyError {
    KeyError::File { path: text(path), what: format!("{what} ({error})") }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_fresh_key_can_be_read_and_is_another_each_time() {
        let (one, two) = (Key::generate(), Key::generate());
        let (one, two) = (Key::parse(&one, "x").unwrap(), Key::parse(&two, "x").unwrap());
        assert_ne!(one.bytes(), two.bytes());
        assert_ne!(one.id(), two.id());
        assert_eq!(one.id().len(), 16);
    }

    #[test]
    fn a_signature_is_of_one_key_one_purpose_and_one_message() {
        let key = || Key::parse(&Key::generate(), "x").unwrap();
        let (one, two) = (key(), key());
        let signature = one.sign("links", b"a").unwrap();
        assert!(one.has_signed("links", b"a", &signature));
        assert!(!two.has_signed("links", b"a", &signature));
        assert!(!one.has_signed("others", b"a", &signature));
        assert!(!one.has_signed("links", b"b", &signature));
        assert!(!one.has_signed("links", b"a", &signature[1..]) && !one.has_signed("links", b"a", &[]));
    }

    #[test]
    fn what_is_no_key_is_named_by_its_place_and_not_repeated() {
        for wrong in [
            "",
            "hunter2",
            "aHVudGVyMg==",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        ] {
            let error = Key::parse(&wrong.into(), "vault.key").unwrap_err();
            assert_eq!(error, KeyError::Malformed("vault.key".into()));
            assert!(wrong.is_empty() || !error.to_string().contains(wrong), "{error}");
        }
        let key = Key::generate();
        let printed = format!("{:?}", KeySource::Given(Key::parse(&key, "x").unwrap()));
        assert!(!printed.contains(key.expose_secret()), "{printed}");
    }

    #[test]
    fn a_file_is_made_once_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data/vault.key");
        let source = KeySource::File(path.clone());
        assert!(source.read().unwrap().is_none());
        let made = source.read_or_make().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        make_file(&path).unwrap();
        assert_eq!(source.read_or_make().unwrap().id(), made.id());
        assert_eq!(
            std::fs::read_dir(dir.path().join("data")).unwrap().count(),
            1,
            "nothing is left beside it"
        );
        std::fs::write(&path, "").unwrap();
        assert!(
            matches!(source.read_or_make(), Err(KeyError::Malformed(_))),
            "a damaged key is never replaced"
        );
        assert!(matches!(KeySource::Missing.read_or_make(), Err(KeyError::Missing)));
    }
}
