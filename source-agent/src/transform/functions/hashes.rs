//! Digests, as text of hexadecimal digits, and other ways to write bytes.
//!
//! The key of an HMAC stands in the environment of the source-agent, never in the task, which the coordinator stores.

use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::{Digest as _, Md5};
use sha2::Sha256;

use super::{Answer, BYTES, Function, Literal, MISMATCH, TEXT, Takes, function};
use crate::transform::kind::Kind;
use crate::transform::value::{Value, hex};

/// In front of a key's name in the environment.
const KEY_PREFIX: &str = "STRAIT_KEY_";

const KEY: Takes = Takes::Literal(Literal::Key);

pub(super) static ALL: &[Function] = &[
    function("sha256", &[TEXT], Kind::Text, |arguments| digest(arguments, |it| Sha256::digest(it).to_vec())),
    function("sha256", &[BYTES], Kind::Text, |arguments| digest(arguments, |it| Sha256::digest(it).to_vec())),
    function("md5", &[TEXT], Kind::Text, |arguments| digest(arguments, |it| Md5::digest(it).to_vec())),
    function("md5", &[BYTES], Kind::Text, |arguments| digest(arguments, |it| Md5::digest(it).to_vec())),
    function("hmac", &[TEXT, KEY], Kind::Text, hmac),
    function("hmac", &[BYTES, KEY], Kind::Text, hmac),
    function("hex", &[BYTES], Kind::Text, |arguments| digest(arguments, <[u8]>::to_vec)),
];

fn digest(arguments: &[Value], digest: impl Fn(&[u8]) -> Vec<u8>) -> Answer {
    let bytes = arguments.first().and_then(octets).ok_or(MISMATCH)?;
    Ok(Value::Text(hex(&digest(bytes))))
}

fn hmac(arguments: &[Value]) -> Answer {
    let [value, Value::Text(name)] = arguments else { return Err(MISMATCH) };
    let bytes = octets(value).ok_or(MISMATCH)?;
    let key = key(name).ok_or("the key is not in the environment of the source-agent any more")?;
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).map_err(|_| "the key cannot be used")?;
    mac.update(bytes);
    Ok(Value::Text(hex(&mac.finalize().into_bytes())))
}

fn octets(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Text(text) => Some(text.as_bytes()),
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

fn key(name: &str) -> Option<String> {
    std::env::var(format!("{KEY_PREFIX}{name}")).ok().filter(|key| !key.is_empty())
}

pub(super) fn check_key(name: &str) -> Result<(), String> {
    match key(name) {
        Some(_) => Ok(()),
        None => Err(format!(
            "the environment of the source-agent has no {KEY_PREFIX}{name}, which is to hold the key"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{answer, text};
    use super::*;

    #[test]
    fn digests_are_those_of_everybody_else() {
        assert_eq!(answer("md5", &[text("abc")]), Ok(text("900150983cd24fb0d6963f7d28e17f72")));
        assert_eq!(
            answer("sha256", &[Value::Bytes(b"abc".to_vec())]),
            Ok(text("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"))
        );
        assert_eq!(answer("hex", &[Value::Bytes(vec![0, 255])]), Ok(text("00ff")));
        assert!(check_key("NO_SUCH_KEY").unwrap_err().contains("STRAIT_KEY_NO_SUCH_KEY"));
    }
}
