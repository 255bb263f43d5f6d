//! Where results go, and whether statements run at all.

use std::sync::{Mutex, PoisonError};

use strait_proto::v1::ObjectResult;
use tokio::sync::mpsc::Sender;

/// Where results go, object by object.
#[derive(Debug)]
pub(crate) struct Results {
    sender: Sender<ObjectResult>,
    /// Set where statements are written down instead of run.
    rendered: Option<Mutex<Vec<String>>>,
}

impl Results {
    /// Statements run, and results are told to `sender`.
    pub(crate) fn new(sender: Sender<ObjectResult>) -> Self {
        Self { sender, rendered: None }
    }

    /// Statements are written down; results are told as if they had run.
    pub(crate) fn rendering(sender: Sender<ObjectResult>) -> Self {
        Self { sender, rendered: Some(Mutex::default()) }
    }

    /// A caller that hung up does not hear the results; the objects are wanted all the same, and calling again tells.
    pub(super) async fn send(&self, result: ObjectResult) {
        let _heard = self.sender.send(result).await;
    }

    /// Whether statements are written down.
    pub(super) fn is_rendering(&self) -> bool {
        self.rendered.is_some()
    }

    /// Takes a statement down; false where it is to be run.
    pub(super) fn renders(&self, sql: &str) -> bool {
        let Some(rendered) = &self.rendered else { return false };
        rendered.lock().unwrap_or_else(PoisonError::into_inner).push(sql.to_owned());
        true
    }

    /// The statements, in order.
    pub(crate) fn rendered(self) -> Vec<String> {
        let rendered = self.rendered.map(Mutex::into_inner);
        rendered.map(|rendered| rendered.unwrap_or_else(PoisonError::into_inner)).unwrap_or_default()
    }
}
