//! The protocol's frames: a tag, a length and a body, read in bulk from a byte stream.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use postgres_protocol::message::backend::Message;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::Error;

/// How much room a read finds at least. What arrives meanwhile is read at once.
const READ_BYTES: usize = 256 * 1024;
/// Below this much room a new buffer is begun.
const READ_BYTES_MIN: usize = 16 * 1024;
/// The largest frame that is accepted: PostgreSQL itself builds no larger one (MaxAllocSize).
const FRAME_BYTES_MAX: usize = 1 << 30;
/// Tag and length.
const HEADER_BYTES: usize = 5;

/// One message of the server.
pub(super) struct Frame {
    pub(super) tag: u8,
    pub(super) body: Bytes,
}

/// The frames that arrive on a stream. Every method keeps what it has read when it is cancelled.
pub(super) struct Frames<S> {
    stream: S,
    buffer: BytesMut,
}

impl<S> Frames<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    pub(super) fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Exchanges the stream for a part or a wrapper of it; what is buffered stays.
    pub(super) fn map<T, R>(self, split: impl FnOnce(S) -> (T, R)) -> (Frames<T>, R) {
        let (stream, rest) = split(self.stream);
        (Frames { stream, buffer: self.buffer }, rest)
    }

    /// Whether a whole frame is in memory.
    pub(super) fn has_frame(&self) -> bool {
        matches!(self.frame_bytes(), Ok(Some(bytes)) if bytes <= self.buffer.len())
    }

    /// The tag of the frame that comes next, if it is known.
    pub(super) fn tag(&self) -> Option<u8> {
        self.buffer.first().copied()
    }

    /// The next frame if all of it is in memory.
    pub(super) fn take_frame(&mut self) -> Result<Option<Frame>, Error> {
        match self.frame_bytes()? {
            Some(bytes) if bytes <= self.buffer.len() => {
                let mut body = self.buffer.split_to(bytes).freeze();
                let tag = body[0];
                body.advance(HEADER_BYTES);
                Ok(Some(Frame { tag, body }))
            }
            _ => Ok(None),
        }
    }

    /// The next frame's whole length, once its header is in memory.
    fn frame_bytes(&self) -> Result<Option<usize>, Error> {
        let Some((header, _)) = self.buffer.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [_, length @ ..] = *header;
        let bytes = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX).saturating_add(1);
        if (HEADER_BYTES..=FRAME_BYTES_MAX).contains(&bytes) {
            Ok(Some(bytes))
        } else {
            Err(Error::Protocol(format!("a message with a length of {bytes} bytes")))
        }
    }
}

impl<S: AsyncRead + Unpin> Frames<S> {
    /// Waits for the next frame; `None` once the server has closed the connection.
    pub(super) async fn next_frame(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(Some(frame));
            }
            if !self.read_more().await? {
                return Ok(None);
            }
        }
    }

    /// Waits until a whole frame is in memory.
    pub(super) async fn wait(&mut self) -> Result<(), Error> {
        while !self.has_frame() {
            self.frame_bytes()?;
            if !self.read_more().await? {
                return Err(Error::Closed);
            }
        }
        Ok(())
    }

    /// Waits for the next frame and decodes it as one of the messages outside of streaming.
    pub(super) async fn next_message(&mut self) -> Result<Message, Error> {
        self.wait().await?;
        Message::parse(&mut self.buffer)
            .map_err(|error| Error::Protocol(error.to_string()))?
            .ok_or_else(|| Error::Protocol("an incomplete message".to_owned()))
    }

    /// Reads what the stream has, at least one byte; false where it has ended.
    pub(super) async fn read_more(&mut self) -> Result<bool, Error> {
        let missing = self.frame_bytes()?.unwrap_or_default().saturating_sub(self.buffer.len());
        let room = self.buffer.capacity() - self.buffer.len();
        if room < missing.max(READ_BYTES_MIN) {
            self.buffer.reserve(missing.max(READ_BYTES));
        }
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(bytes) => Ok(bytes > 0),
            // TLS reports a connection that ends without its farewell so; servers do that when they are
            // killed.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    fn encode(frames: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (tag, body) in frames {
            bytes.push(*tag);
            bytes.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
            bytes.extend_from_slice(body);
        }
        bytes
    }

    async fn read_all(stream: impl AsyncRead + Unpin) -> Result<Vec<(u8, Vec<u8>)>, Error> {
        let mut frames = Frames::new(stream);
        let mut all = Vec::new();
        while let Some(frame) = frames.next_frame().await? {
            all.push((frame.tag, frame.body.to_vec()));
        }
        Ok(all)
    }

    #[tokio::test]
    async fn lengths_that_no_frame_can_have_are_refused() {
        for length in [0_u32, 3, 1 << 30, u32::MAX] {
            let bytes = [&b"d"[..], &length.to_be_bytes(), &[0; 16]].concat();
            let error = read_all(bytes.as_slice()).await.unwrap_err();
            assert!(matches!(error, Error::Protocol(_)), "{length}: {error:?}");
        }
    }

    #[tokio::test]
    async fn a_cancelled_read_loses_nothing() {
        let (client, mut server) = tokio::io::duplex(64);
        let mut frames = Frames::new(client);
        let bytes = encode(&[(b'd', b"hello".to_vec())]);
        for byte in bytes {
            let waiting = tokio::time::timeout(std::time::Duration::from_millis(1), frames.next_frame());
            assert!(waiting.await.is_err(), "no frame is complete yet");
            server.write_all(&[byte]).await.unwrap();
        }
        let frame = frames.next_frame().await.unwrap().unwrap();
        assert_eq!((frame.tag, &frame.body[..]), (b'd', &b"hello"[..]));
    }

    proptest! {
        #[test]
        fn frames_arrive_whole_however_the_stream_is_cut(
            frames in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..50)), 0..20),
            chunk in 1..64_usize,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let read = runtime.block_on(async {
                let (client, mut server) = tokio::io::duplex(chunk);
                let bytes = encode(&frames);
                let write = async move { server.write_all(&bytes).await.unwrap() };
                tokio::join!(read_all(client), write).0
            });
            prop_assert_eq!(read.unwrap(), frames);
        }
    }
}
