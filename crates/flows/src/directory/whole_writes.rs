//! Changes in a target that can only write whole records: two runs may change one at the same time, in two processes (a
//! group its department's and its members' run, a user its own and its leaders' run, either a sweep's), and the later one would
//! take back what the other one wrote.

use shared::fault::Fault;
use shared::flow::Run;

use super::flow::DirectoryFlow;
use super::ids::TargetId;
use super::leases::Leases;

impl DirectoryFlow {
    /// Changes a record of the target: alone, where its changes are whole records. `write` reads what it does not change
    /// itself.
    pub(super) async fn write_alone<T>(
        &self,
        run: &Run,
        leases: &Leases<'_>,
        record: &TargetId,
        write: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        if !self.target.writes_whole().await? {
            return write.await;
        }
        leases.take_write(record).await?;
        // It may have been waited for.
        let result = match leases.check().and_then(|()| run.guard.fence()) {
            Ok(_) => write.await,
            Err(lost) => Err(lost),
        };
        leases.give_back_write(record).await;
        result
    }
}
