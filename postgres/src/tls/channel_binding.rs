//! Channel binding `tls-server-end-point` (RFC 5929): the hash of the server's certificate, which
//! SCRAM-SHA-256-PLUS mixes into the proof, so that a man in the middle with another certificate cannot pass
//! the proof on.

use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// 1.2.840.113549.1.1, without the last arc.
const RSA: [u8; 8] = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01];
/// 1.2.840.10045.4, without the last arcs.
const ECDSA: [u8; 6] = [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04];

const DER_SEQUENCE: u8 = 0x30;
const DER_OBJECT_IDENTIFIER: u8 = 0x06;

/// The hash of a certificate (DER) by the algorithm of its own signature, MD5 and SHA-1 replaced by SHA-256.
///
/// `None` where that signature has no hash that both sides agree on (Ed25519, RSASSA-PSS): then there is no
/// channel binding.
pub(crate) fn tls_server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = signature_algorithm(certificate)?;
    let hash_bits = match (algorithm.strip_prefix(&RSA), algorithm.strip_prefix(&ECDSA)) {
        // md5, sha1, sha256, sha384, sha512 WithRSAEncryption
        (Some([4 | 5 | 11]), _) => 256,
        (Some([12]), _) => 384,
        (Some([13]), _) => 512,
        // ecdsa-with-SHA1, -SHA256, -SHA384, -SHA512
        (_, Some([1] | [3, 2])) => 256,
        (_, Some([3, 3])) => 384,
        (_, Some([3, 4])) => 512,
        _ => return None,
    };
    Some(match hash_bits {
        256 => Sha256::digest(certificate).to_vec(),
        384 => Sha384::digest(certificate).to_vec(),
        _ => Sha512::digest(certificate).to_vec(),
    })
}

/// `Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { algorithm OBJECT IDENTIFIER, …
/// }, … }`
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = der_element(certificate, DER_SEQUENCE)?;
    let (_to_be_signed, rest) = der_element(certificate, DER_SEQUENCE)?;
    let (algorithm, _) = der_element(rest, DER_SEQUENCE)?;
    der_element(algorithm, DER_OBJECT_IDENTIFIER).map(|(identifier, _)| identifier)
}

/// The content of the first element, which must have this tag, and what follows it.
fn der_element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = bytes.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let (octets, rest) = rest.split_at_checked(usize::from(length & 0x7F))?;
        let fits = (1..=size_of::<u32>()).contains(&octets.len());
        (fits.then(|| octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)))?, rest)
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The skeleton of a certificate that is signed with this algorithm.
    fn certificate(algorithm: &[u8]) -> Vec<u8> {
        let element = |tag: u8, content: &[u8]| {
            let mut bytes = vec![tag, 0x82, (content.len() >> 8) as u8, content.len() as u8];
            bytes.extend_from_slice(content);
            bytes
        };
        let algorithm = element(DER_SEQUENCE, &element(DER_OBJECT_IDENTIFIER, algorithm));
        element(
            DER_SEQUENCE,
            &[element(DER_SEQUENCE, &[7; 300]), algorithm, element(0x03, &[0; 64])].concat(),
        )
    }

    #[test]
    fn the_hash_is_that_of_the_certificates_signature() {
        for (prefix, last, bytes) in [
            (&RSA[..], &[4][..], Some(32)),
            (&RSA, &[5], Some(32)),
            (&RSA, &[11], Some(32)),
            (&RSA, &[12], Some(48)),
            (&RSA, &[13], Some(64)),
            (&RSA, &[10], None),
            (&ECDSA, &[1], Some(32)),
            (&ECDSA, &[3, 2], Some(32)),
            (&ECDSA, &[3, 3], Some(48)),
            (&ECDSA, &[3, 4], Some(64)),
            (&[0x2B, 0x65], &[0x70], None),
        ] {
            let hash = tls_server_end_point(&certificate(&[prefix, last].concat()));
            assert_eq!(hash.map(|hash| hash.len()), bytes, "{prefix:?} {last:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = tls_server_end_point(&bytes);
        }
    }
}
