//! The look at the fleet's document: at once when something is new, else from time to time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared::ports::PortError;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::Upstream;
use crate::fleet::ledger::Moment;
use crate::fleet::{Fleet, store};

/// Two looks are at least so far apart,
const GAP: Duration = Duration::from_millis(20);
/// and so far while the store does not answer.
const GAP_FAILING: Duration = Duration::from_millis(500);

/// The task that looks.
pub(super) struct Beat {
    fleet: Fleet,
    now: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Beat {
    pub(super) fn new(fleet: Fleet) -> Self {
        Self { fleet, now: Arc::default(), task: Mutex::new(None) }
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.now.notify_one();
    }
}

impl Upstream {
    /// Gives back what this process holds of the fleet's limits, as far as the store answers in time: for a process
    /// that ends. Without, it comes back after the time-to-live. A request after it takes a place anew.
    pub async fn leave(&self) {
        let Some(beat) = &self.0.fleet else { return };
        let task = beat.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(task) = task else { return };
        task.abort();
        // Ended, so that it writes nothing behind what follows.
        let _ = task.await;
        let name = self.desk().seat_name().to_owned();
        store::leave(&*beat.fleet.state, &beat.fleet.account, &name).await;
    }

    /// Has the document looked at now.
    pub(super) fn look_now(&self) {
        let Some(beat) = &self.0.fleet else { return };
        beat.now.notify_one();
        let mut task = beat.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            *task = Some(self.beat(beat));
        }
    }

    /// Begins to look, until the account is dropped; then what it held is given back.
    fn beat(&self, beat: &Beat) -> JoinHandle<()> {
        let weak = Arc::downgrade(&self.0);
        let (fleet, now) = (beat.fleet.clone(), Arc::clone(&beat.now));
        tokio::spawn(async move {
            let mut name = String::new();
            while let Some(inner) = weak.upgrade() {
                let upstream = Self(inner);
                let answered = upstream.look(&fleet).await;
                let next = {
                    let desk = upstream.desk();
                    desk.seat_name().clone_into(&mut name);
                    desk.next_look(upstream.now())
                };
                drop(upstream);
                sleep(if answered { GAP } else { GAP_FAILING }).await;
                let _ = timeout(next, now.notified()).await;
            }
            store::leave(&*fleet.state, &fleet.account, &name).await;
        })
    }

    /// One look. Answers whether the store answered.
    async fn look(&self, fleet: &Fleet) -> bool {
        let problem = match timeout(store::LOOK_TIME_MAX, self.read_and_write(fleet)).await {
            Ok(Ok(())) => None,
            Ok(Err(problem)) => Some(problem.to_string()),
            Err(_) => Some(format!("no answer within {:?}", store::LOOK_TIME_MAX)),
        };
        if let Some(problem) = &problem {
            let now = self.now();
            self.desk().look_failed(now);
            tracing::debug!(
                upstream.system = self.0.system,
                "the fleet's limits are out of reach: {problem}"
            );
        }
        self.show_changes();
        self.0.changed.notify_one();
        self.0.looked.notify_waiters();
        problem.is_none()
    }

    async fn read_and_write(&self, fleet: &Fleet) -> Result<(), PortError> {
        for _ in 0..store::CLASHES_MAX {
            let began = self.now();
            let (found, expected) = store::read(&*fleet.state, &fleet.account).await?;
            let report = self.desk().report(found.as_ref(), self.moment());
            let Some((ledger, write, told)) = report else { return Ok(()) };
            if !write || store::write(&*fleet.state, &fleet.account, &ledger, expected).await? {
                let moment = self.moment();
                self.desk().looked(&ledger, told, write, began, moment);
                return Ok(());
            }
        }
        // Others are faster; what is known goes on to hold for as long as it is trusted.
        Err(PortError::Unavailable("others write the limits all the time".to_owned()))
    }

    fn moment(&self) -> Moment {
        Moment { own: self.now(), wall: self.0.clock.now() }
    }
}
