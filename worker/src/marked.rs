//! Whether records have marks. A run that ends alone asks by itself, without waking anybody; those that end while the
//! store answers ask together, in one round trip.

use std::iter::from_fn;
use std::sync::Arc;

use shared::marks;
use shared::ports::PortError;
use shared::ports::state::State;
use shared::record_key::RecordKey;
use tokio::sync::{Mutex, mpsc, oneshot};

/// Asks for all runs of a worker.
#[derive(Debug)]
pub struct Marked {
    state: Arc<dyn State>,
    /// Held while the store is asked.
    turn: Arc<Mutex<()>>,
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
        let turn = Arc::<Mutex<()>>::default();
        tokio::spawn(answer(state.clone(), turn.clone(), receiver));
        Self { state, turn, requests }
    }

    /// Whether nobody asks at present.
    pub fn is_idle(&self) -> bool {
        self.turn.try_lock().is_ok()
    }

    /// Whether the record has any mark: one that was made before this is asked is seen.
    ///
    /// # Errors
    /// As the store's.
    pub async fn ask(&self, record: &RecordKey) -> Result<bool, PortError> {
        if let Ok(_turn) = self.turn.try_lock() {
            let found = marks::are_marked(self.state.as_ref(), std::slice::from_ref(record)).await?;
            return Ok(found.first().copied().unwrap_or(true));
        }
        let ended = || PortError::Unavailable("the worker ends, marks are read no more".to_owned());
        let (answer, answered) = oneshot::channel();
        let request = Request { record: record.clone(), answer };
        self.requests.send(request).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

async fn answer(state: Arc<dyn State>, turn: Arc<Mutex<()>>, mut requests: mpsc::Receiver<Request>) {
    let mut batch: Vec<Request> = Vec::with_capacity(marks::RECORDS_MAX);
    while requests.recv_many(&mut batch, marks::RECORDS_MAX).await > 0 {
        let _turn = turn.lock().await;
        batch.extend(from_fn(|| requests.try_recv().ok()).take(marks::RECORDS_MAX - batch.len()));
        let (records, answers): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|request| (request.record, request.answer)).unzip();
        let found = marks::are_marked(state.as_ref(), &records).await;
        for (number, answer) in answers.into_iter().enumerate() {
            let marked = found.as_ref().map(|found| found.get(number).copied().unwrap_or(true));
            // Who asked may have ended.
            let _nobody = answer.send(marked.map_err(Clone::clone));
        }
    }
}
