//! Object results on their way: from whoever makes the objects to the caller, and kept to be recorded.

use strait_proto::v1::ObjectResult;
use tokio::sync::mpsc;
use tonic::Status;

use crate::error::Error;
use crate::schema;

/// Results that may wait for the caller to read them.
pub(crate) const RESULTS_MAX: usize = 64;

/// Lets `work` make objects, and returns all of its results with what it returned. `results` says where they go, and whether
/// statements run.
pub(crate) async fn gather<T, W>(
    results: impl FnOnce(mpsc::Sender<ObjectResult>) -> schema::Results,
    work: impl FnOnce(schema::Results) -> W,
) -> (T, Vec<ObjectResult>)
where
    W: Future<Output = T>,
{
    let (sender, mut receiver) = mpsc::channel(RESULTS_MAX);
    let gathered = async {
        let mut all = Vec::new();
        while receiver.recv_many(&mut all, RESULTS_MAX).await > 0 {}
        all
    };
    tokio::join!(work(results(sender)), gathered)
}

/// The answer to a call that streams results.
pub(crate) struct Relay<R> {
    outward: mpsc::Sender<Result<R, Status>>,
    response: fn(ObjectResult) -> R,
}

impl<R> Relay<R> {
    /// Results go to `outward`, each within a `response`.
    pub(crate) fn new(outward: mpsc::Sender<Result<R, Status>>, response: fn(ObjectResult) -> R) -> Self {
        Self { outward, response }
    }

    /// # Errors
    /// [`Error::Stopped`] when the caller has gone.
    pub(crate) async fn send(&self, result: ObjectResult) -> Result<(), Error> {
        self.outward.send(Ok((self.response)(result))).await.map_err(|_| Error::Stopped)
    }

    /// Lets `work` make objects, passes its results on as they come, and returns them with what it returned.
    pub(crate) async fn collect<T, W>(
        &self,
        work: impl FnOnce(schema::Results) -> W,
    ) -> Result<(T, Vec<ObjectResult>), Error>
    where
        W: Future<Output = T>,
    {
        let (sender, mut receiver) = mpsc::channel(RESULTS_MAX);
        let relay = async {
            let mut all = Vec::new();
            while let Some(result) = receiver.recv().await {
                all.push(ObjectResult::clone(&result));
                self.send(result).await?;
            }
            Ok::<_, Error>(all)
        };
        let (made, results) = tokio::join!(work(schema::Results::new(sender)), relay);
        Ok((made, results?))
    }
}
