//! Whether records have marks. Runs that end while the store answers others ask together, in one round trip.

use std::sync::Arc;

use shared::marks;
use shared::ports::PortError;
use shared::ports::state::State;
use shared::record_key::RecordKey;
use tokio::sync::{mpsc, oneshot};

/// Asks for all runs of a worker.
#[derive(Debug)]
pub struct Marked {
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Request {
    record: RecordKey,
    answer: oneshot::Sender<Result<bool, PortError>>,
}

impl Marked {
    /// Asks this store. Ends with the value.
    pub fn start(state: Arc<dyn State>) -> Self {
        let (requests, receiver) = mpsc::channel(marks::RECORDS_MAX);
        tokio::spawn(answer(state, receiver));
        Self { requests }
    }

    /// Whether the record has any mark: one that was made before this is asked is seen.
    ///
    /// # Errors
    /// As the store's.
    pub async fn ask(&self, record: &RecordKey) -> Result<bool, PortError> {
        let ended = || PortError::Unavailable("the worker ends, marks are read no more".to_owned());
        let (answer, answered) = oneshot::channel();
        let request = Request { record: record.clone(), answer };
        self.requests.send(request).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

async fn answer(state: Arc<dyn State>, mut requests: mpsc::Receiver<Request>) {
    let mut batch = Vec::with_capacity(marks::RECORDS_MAX);
    while requests.recv_many(&mut batch, marks::RECORDS_MAX).await > 0 {
        let (records, answers): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|request: Request| (request.record, request.answer)).unzip();
        let found = marks::are_marked(state.as_ref(), &records).await;
        for (number, answer) in answers.into_iter().enumerate() {
            let marked = found.as_ref().map(|found| found.get(number).copied().unwrap_or(true));
            // Who asked may have ended.
            let _nobody = answer.send(marked.map_err(Clone::clone));
        }
    }
}
